"""Minutes as the bounds of a search are written, `2025-01-15T10:30`: as text in order of time."""

from __future__ import annotations

from datetime import datetime, timedelta

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.nexudus.pages import Record

BEGINNING = "1900-01-01T00:00"
"""A minute before anything that Nexudus, founded in 2012, can hold; some servers fail on bounds
about the beginning of their database's calendar."""


def minute_of(stamp: str) -> str:
    """The minute of a canonical date-time, as the API's bounds are written."""
    return stamp[: len(BEGINNING)]


def minute_of_record(record: Record) -> str | None:
    """The minute of a record's stamp; what is none is for the schema's check to report."""
    try:
        return minute_of(timestamps.canonical(record["UpdatedOn"]))
    except (KeyError, TypeError, ValueError):
        return None


def shift(minute: str, span: timedelta) -> str:
    """The minute a whole number of minutes later, or where the calendar ends."""
    moment = to_datetime(minute)
    moment += min(max(span, datetime.min - moment), datetime.max - moment)  # noqa: DTZ901 - no zone
    return moment.isoformat(timespec="minutes")


def to_datetime(minute: str) -> datetime:
    """The beginning of a minute, without a zone."""
    return datetime.fromisoformat(minute)
