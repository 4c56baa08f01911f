"""What is done about each answer, and how it is told: the error table of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus

import requests
from requests import exceptions

from tap_nexudus_usage.redaction import Redactor, one_line


class Action(Enum):
    """What is done about an answer."""

    ACCEPT = "take it"
    RENEW_TOKEN = "get one new token, then try once more"  # noqa: S105 - no password
    WAIT = "wait as long as the server asks, then try again"
    RETRY = "back off, then try again"
    REFUSE = "leave it to the caller: the same call would be answered the same"


ACTIONS: Mapping[int, Action] = {
    HTTPStatus.OK: Action.ACCEPT,
    HTTPStatus.UNAUTHORIZED: Action.RENEW_TOKEN,
    HTTPStatus.REQUEST_TIMEOUT: Action.RETRY,
    HTTPStatus.CONFLICT: Action.WAIT,
    HTTPStatus.TOO_MANY_REQUESTS: Action.WAIT,
    HTTPStatus.SERVICE_UNAVAILABLE: Action.WAIT,
}
"""From Nexudus's documentation. Of the statuses not named, 5xx are tried again, others refusals."""


def action_for(status: int) -> Action:
    """What is done about an answer with HTTP `status`."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ACTIONS.get(status, Action.RETRY)
    return ACTIONS.get(status, Action.REFUSE)


CONNECTION_FAULTS: Sequence[tuple[type[requests.RequestException], str, str]] = (
    (exceptions.InvalidURL, "", "the address isn't valid"),
    (exceptions.SSLError, "", "the server's certificate can't be verified"),
    (exceptions.ProxyError, "", "the proxy can't be reached or refuses"),
    (exceptions.ConnectTimeout, "", "no connection within request_timeout"),
    (exceptions.Timeout, "", "no answer within request_timeout"),
    (exceptions.ConnectionError, "NameResolution", "the host's name can't be resolved"),
    (exceptions.ConnectionError, "refused", "connection refused"),
)
"""What kind of exception, with what in its text, is described how; the first that fits."""


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header (seconds or an HTTP date); None where it says nothing."""
    if value is None:
        return None
    try:
        return max(float(int(value)), 0.0)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max((moment - datetime.now(timezone.utc)).total_seconds(), 0.0)


def action_for_error(error: requests.RequestException) -> Action:
    """Everything on the way to an answer may pass, but what isn't valid won't become so."""
    stays = (exceptions.SSLError, exceptions.InvalidURL)
    return Action.REFUSE if isinstance(error, stays) else Action.RETRY


def describe_error(error: requests.RequestException) -> str:
    """Words for a failed connection; requests' own repeat the URL and its objects' addresses."""
    for kind, hint, words in CONNECTION_FAULTS:
        if isinstance(error, kind) and hint in str(error):
            return f"failed: {words}"
    return f"failed: the connection broke ({type(error).__name__})"


def describe_answer(answer: requests.Response, redactor: Redactor) -> str:
    """Status and the beginning of the body, fit for a log."""
    reason = one_line(redactor.redact(answer.reason or ""))
    excerpt = redactor.excerpt(answer.content)
    return f"{answer.status_code} {reason}".strip() + (f": {excerpt}" if excerpt else "")


def is_html(answer: requests.Response) -> bool:
    """Whether the answer is a page for people: a gateway's or a login's, not the API's."""
    kind = answer.headers.get("Content-Type", "")
    return "html" in kind.lower() or answer.content.lstrip()[:1] == b"<"
