"""What is done about each answer, and how it is told: the error table of the API.

The API throttles by 409. Failures before there is an answer are in `no_answer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import requests

from tap_nexudus_usage.redaction import Redactor, one_line, readable


class Action(Enum):
    """What is done about an answer."""

    ACCEPT = "take it"
    RENEW_TOKEN = "get one new token, then try once more"  # noqa: S105 - no password
    WAIT = "wait as long as the server asks, then try again"
    RETRY = "back off, then try again"
    REFUSE = "leave it to the caller: the same call would be answered the same"


ACTIONS: Mapping[int, tuple[Action, str]] = {
    HTTPStatus.NO_CONTENT: (Action.REFUSE, ""),
    HTTPStatus.RESET_CONTENT: (Action.REFUSE, ""),
    HTTPStatus.UNAUTHORIZED: (Action.RENEW_TOKEN, ""),
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: (Action.REFUSE, "a proxy on the way wants a login"),
    HTTPStatus.REQUEST_TIMEOUT: (Action.RETRY, ""),
    HTTPStatus.CONFLICT: (Action.WAIT, ""),
    HTTPStatus.TOO_EARLY: (Action.RETRY, ""),
    HTTPStatus.TOO_MANY_REQUESTS: (Action.WAIT, ""),
    HTTPStatus.SERVICE_UNAVAILABLE: (Action.WAIT, ""),
    HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED: (
        Action.RETRY,
        "the network wants a login before it lets anything through",
    ),
}
"""By status: what is done and, where that isn't plain, what it means.

From Nexudus's documentation, and HTTP's. Of the statuses not named, 2xx are taken (what came has to
prove itself), 5xx are tried again, others are refusals.
"""

PASSING_LOGIN_ERRORS = frozenset({"server_error", "temporarily_unavailable"})
"""Error codes of OAuth2 (RFC 6749) that don't concern what was sent."""

LONGEST_WAIT = 1e9
"""Seconds; what is asked for beyond makes no difference."""

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?", re.ASCII)

_WAITS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?:wait|retry|again|after)[^\d<>]{0,30}(\d+(?:\.\d+)?)\s*s(?:ec\w*)?\b",
        r"retry[-_ ]?after(?:[-_ ]?s\w*)?[\"':=\s]*(\d+(?:\.\d+)?)(?![\d.]|\s*m)",
        r"(?<!per )(?<![\d.])(\d+(?:\.\d+)?)\s*sec(?:ond)?s?\b",
    )
]
"""How a text says for how many seconds to wait. Third-party clients have seen "Wait 3.5 seconds" of
Nexudus; "120 per 60 seconds" is no wait."""

_LONG_WORD = re.compile(r"[\w+~.-]{16,}", re.ASCII)


def action_for(answer: requests.Response, *, login: bool = False) -> Action:
    """What is done about `answer`; `login` says that it is the token endpoint's."""
    status = answer.status_code
    if status in ACTIONS:
        action, _ = ACTIONS[status]
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        action = Action.RETRY
    else:
        action = Action.ACCEPT if _is_success(answer) else Action.REFUSE
    if login and action in {Action.ACCEPT, Action.RETRY}:
        code, _ = login_error(answer)
        return Action.REFUSE if code and code not in PASSING_LOGIN_ERRORS else action
    return action


def login_error(answer: requests.Response) -> tuple[str, str]:
    """Code and description of the OAuth2 error that `answer` is, whatever its status; else empty.

    Nexudus documents `{"error": "invalid_grant", "error_description": "..."}` with 400.
    """
    try:
        content = json.loads(answer.content)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(content, dict) or content.get("access_token"):
        return "", ""
    code, description = content.get("error"), content.get("error_description")
    if not isinstance(code, str):
        return "", ""
    return code.strip(), description.strip() if isinstance(description, str) else ""


def wait_asked_for(answer: requests.Response) -> tuple[float | None, str]:
    """Seconds that a throttling answer asks to wait for, if it does, and where it does so."""
    seconds = retry_after(answer.headers.get("Retry-After"), answer.headers.get("Date"))
    if seconds:
        return seconds, "Retry-After asks for it"
    return _seconds_in(readable(answer.content)), "the answer's text asks for it"


def retry_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds of a Retry-After header (seconds or an HTTP date); None where it says nothing.

    `date` is the header of that name, the server's clock: this machine's may be wrong.
    """
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if all(_NUMBER.fullmatch(part) for part in parts):
        # Several, where both the API and something on the way set it.
        return min(max(0.0, *map(float, parts)), LONGEST_WAIT)
    moment = _parse_date(value)
    if moment is None:
        return _seconds_in(value)
    now = _parse_date(date) or datetime.now(timezone.utc)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_WAIT)


def describe_answer(answer: requests.Response, redactor: Redactor, *, login: bool = False) -> str:
    """Status and the beginning of the body, fit for a log.

    Of the token endpoint's answers nothing is quoted that may be a token, which nobody knows yet.
    """
    _, meaning = ACTIONS.get(answer.status_code, (None, ""))
    status = f"{answer.status_code} {redactor.excerpt((answer.reason or '').encode())}".strip()
    target = _redirect_target(answer)
    if target:
        said = f"a redirect to {one_line(redactor.redact(target))}, which isn't followed"
    else:
        said = _login_excerpt(answer, redactor) if login else redactor.excerpt(answer.content)
    # What it is quoted in goes on with a full stop of its own.
    return ": ".join(filter(None, (status, meaning, said))).removesuffix(".")


def is_html(answer: requests.Response) -> bool:
    """Whether the answer is a page for people: a gateway's or a login's, not the API's."""
    kind = answer.headers.get("Content-Type", "")
    return "html" in kind.lower() or readable(answer.content).startswith("<")


def _is_success(answer: requests.Response) -> bool:
    return HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES


def _login_excerpt(answer: requests.Response, redactor: Redactor) -> str:
    code, description = login_error(answer)
    said = ": ".join(filter(None, (code, description)))
    if not code:
        body = readable(answer.content)
        said = "" if _is_success(answer) or "token" in body.casefold() else body
    return redactor.excerpt(_LONG_WORD.sub(_hide, redactor.redact(said)).encode())


def _hide(word: re.Match[str]) -> str:
    """Stars for what may be a token: long, and with digits in it."""
    return "***" if any(char.isdigit() for char in word[0]) else word[0]


def _redirect_target(answer: requests.Response) -> str:
    """Where `answer` points to, without a query, a login or whatever else in it may be secret."""
    location = answer.headers.get("Location", "")
    if answer.status_code // 100 != HTTPStatus.MULTIPLE_CHOICES // 100 or not location:
        return ""
    try:
        parts = urlsplit(urljoin(answer.url, location))
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that isn't valid"
    path, _, _ = parts.path.partition(";")
    return f"{parts.scheme}://{parts.hostname or ''}{port}{_LONG_WORD.sub(_hide, path)}"[:200]


def _seconds_in(text: str) -> float | None:
    """The seconds that `text` says to wait for, if it does."""
    found = next(filter(None, (pattern.search(text) for pattern in _WAITS)), None)
    return None if found is None else min(float(found[1]), LONGEST_WAIT)


def _parse_date(value: str | None) -> datetime | None:
    """An HTTP date; None for anything else, of which the standard library fails on some."""
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
