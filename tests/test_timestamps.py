"""Date-times in the canonical form."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_nexudus_usage.sandbox.records import dotnet
from tap_nexudus_usage.timestamps import canonical, now


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00.000000Z"),
        ("2025-01-15T10:30:00.5Z", "2025-01-15T10:30:00.500000Z"),
        ("2025-01-15T10:30:00.1234567Z", "2025-01-15T10:30:00.123456Z"),
        ("2025-01-15T10:30:00", "2025-01-15T10:30:00.000000Z"),
        ("2025-01-15T10:30:00.25", "2025-01-15T10:30:00.250000Z"),
        ("2025-01-15T10:30:00.25+02:00", "2025-01-15T08:30:00.250000Z"),
        ("2025-01-15T10:30:00-0530", "2025-01-15T16:00:00.000000Z"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_every_form_becomes_the_canonical_one(value: str, expected: str) -> None:
    assert canonical(value) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "2025-01-15",
        "2025-13-15T10:30:00Z",
        "2025-02-30T10:30:00Z",
        "2025-01-15T25:00:00",
    ],
)
def test_what_is_no_date_time_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"not a date-time|out of range|must be in"):
        canonical(value)


MOMENTS = st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001


@given(MOMENTS, st.integers(-(10**9), 10**9))
def test_text_order_is_time_order(moment: datetime, microseconds: int) -> None:
    try:
        other = moment + timedelta(microseconds=microseconds)
    except OverflowError:
        return
    earlier, later = sorted([moment, other])

    assert (canonical(dotnet(earlier)) < canonical(dotnet(later))) == (earlier < later)


def test_now_is_canonical() -> None:
    moment = now()

    assert canonical(moment) == moment
