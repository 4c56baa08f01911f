"""The token endpoint's answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from tap_nexudus_usage.nexudus.decoding import decode
from tap_nexudus_usage.nexudus.transport import HopelessAnswerError, UnusableAnswerError

SHORTEST_LIFE = 10.0
"""Seconds; Nexudus speaks of minutes or hours. With less, there would be a login for each call."""


@dataclass(frozen=True)
class Grant:
    """An answer, as far as it is understood; `expires_in` in seconds, infinity if not known."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: float


def parse(body: bytes) -> Grant:
    """The token in `body`; whatever else is in it and isn't as documented counts as not known."""
    content = decode(body, dict[str, Any])
    token, refresh_token = content.get("access_token"), content.get("refresh_token")
    if not isinstance(token, str) or not token.strip():
        message = "something else than a token"
        raise UnusableAnswerError(message)
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        # A refresh token that is used up by now would be refused the next time.
        message = "an access_token that can't be sent: it must be one line of ASCII characters"
        raise HopelessAnswerError(message)
    return Grant(
        token,
        refresh_token.strip() or None if isinstance(refresh_token, str) else None,
        _lifetime(content.get("expires_in")),
    )


def _lifetime(expires_in: Any) -> float:
    """The seconds that a token lives; infinity where that isn't known, until a 401 tells."""
    try:
        seconds = float("nan") if isinstance(expires_in, bool) else float(expires_in)
    except (TypeError, ValueError, OverflowError):
        return inf
    return seconds if seconds >= SHORTEST_LIFE else inf
