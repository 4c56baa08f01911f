"""Date-times in one canonical form: UTC, six fractional digits, `Z`.

In that form comparing as text is comparing in time. Nexudus's own values (written by .NET: 0 to 7
fractional digits, `Z` or nothing for UTC) don't have that property.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

_NEXUDUS = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?Z?", re.ASCII)
_OFFSET = re.compile(r"(.+?)(\.\d+)?([+-]\d\d):?(\d\d)", re.ASCII)


@lru_cache(maxsize=10_000)
def canonical(value: str) -> str:
    """`value` as `2025-01-15T10:30:00.500000Z`; a seventh fractional digit is cut off.

    A value without an offset is UTC (Nexudus: "may lack the Z; read it as UTC"). Raises ValueError
    for anything that is no date-time.
    """
    match = _NEXUDUS.fullmatch(value)
    if match is None:
        return _canonical_with_offset(value)
    seconds, fraction = match.groups(default="")
    datetime.fromisoformat(seconds)
    return f"{seconds}.{fraction[:6]:0<6}Z"


def _canonical_with_offset(value: str) -> str:
    match = _OFFSET.fullmatch(value)
    if match is None:
        message = "not a date-time"
        raise ValueError(message)
    base, fraction, hours, minutes = match.groups(default="")
    local = datetime.fromisoformat(f"{base}.{fraction[1:7]:0<6}{hours}:{minutes}")
    try:
        return from_datetime(local)
    except OverflowError as error:
        message = "beyond the calendar in UTC"
        raise ValueError(message) from error


def from_datetime(moment: datetime) -> str:
    """An aware `moment` in the canonical form."""
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z"


def now() -> str:
    """The present moment in the canonical form."""
    return from_datetime(datetime.now(timezone.utc))


def minutes_before(value: str, span: timedelta) -> str:
    """The whole minute, in the canonical form, `span` before the canonical `value`.

    The beginning of the calendar where that would be earlier.
    """
    moment = datetime.fromisoformat(value.removesuffix("Z")).replace(second=0, microsecond=0)
    span = min(span, moment - datetime.min)  # noqa: DTZ901 - all is UTC here
    return f"{(moment - span).isoformat(timespec='microseconds')}Z"
