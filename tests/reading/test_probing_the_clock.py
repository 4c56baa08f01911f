"""Of any clock that a tenant may read bounds in, a page of known records tells in a few calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from conftest import SEED

from tap_nexudus_usage.nexudus import pages
from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.nexudus.pages import Page
from tap_nexudus_usage.reading import clock_probe
from tap_nexudus_usage.reading.minutes import minute_of_record, shift
from tap_nexudus_usage.sandbox.records import Ledger, dotnet
from tap_nexudus_usage.sandbox.search import search
from tap_nexudus_usage.sandbox.tenant import Tenant

made = cache(Ledger)
"""Records that no test changes; to make thousands takes longer than the test."""

OFFSETS = [timedelta(minutes=15) * number for number in range(-56, 57)]
MORNING = datetime(2025, 1, 15, 9, tzinfo=timezone.utc)


class Asked:
    """What the sandbox's search answers, by the clock of a tenant, and how often it was asked."""

    def __init__(self, ledger: Ledger, tenant: Tenant) -> None:
        self.calls = 0
        self._ledger = ledger
        self._tenant = tenant

    def __call__(self, begin: str, end: str | None = None) -> Page:
        self.calls += 1
        query = {"size": "1000", "orderBy": "UpdatedOn", "dir": "0", "from_UpdatedOn": begin}
        answer = search(
            self._ledger, query | ({"to_UpdatedOn": end} if end else {}), self._tenant, LEDGER
        )
        return pages.parse(msgspec.json.encode(answer), 1, 10**6)

    def minutes(self, begin: str = "2000-01-01T00:00") -> list[str]:
        return [minute for minute in map(minute_of_record, self(begin).records) if minute]


def dense(count: int, minutes: float, page_cap: int = 1_000) -> tuple[Ledger, dict[str, Any]]:
    """Records so many minutes apart."""
    ledger = Ledger(count, SEED)
    for number, record_id in enumerate(ledger):
        ledger.change(record_id, UpdatedOn=dotnet(MORNING + timedelta(minutes=minutes * number)))
    return ledger, {"page_cap": page_cap}


@pytest.mark.parametrize(
    ("make", "most_calls"),
    [
        (lambda: (made(3, SEED), {}), 8),
        (lambda: (made(30, SEED), {}), 6),
        (lambda: (made(300, SEED), {}), 6),
        (lambda: (made(5_000, SEED), {}), 6),
        (lambda: dense(500, 6), 3),
        (lambda: dense(500, 6, page_cap=20), 8),
        (lambda: dense(200, 0.2), 8),
        (lambda: dense(5, 30), 8),
    ],
    ids=["3", "30", "300", "5000", "6 min", "6 min, 20 a page", "12 s", "5, 30 min"],
)
def test_every_offset_is_found_in_few_calls(
    make: Callable[[], tuple[Ledger, dict[str, Any]]], most_calls: int
) -> None:
    ledger, options = make()
    # The first page, which begins long before all of them, is the same by any clock.
    known = clock_probe.known_from(Asked(ledger, Tenant(**options)).minutes())
    assert known is not None
    for offset in OFFSETS:
        asked = Asked(ledger, Tenant(clock=timezone(offset), **options))

        assert clock_probe.find_offset(asked, known) == offset
        assert asked.calls <= (most_calls if offset else 1)


@pytest.mark.parametrize("count", [30, 300, 5_000, 20_000])
@pytest.mark.parametrize(
    ("zone", "hours"),
    [("UTC", 0), ("Europe/Lisbon", 1), ("America/New_York", 1), ("Pacific/Auckland", -1)],
)
def test_another_season_is_told(zone: str, hours: int, count: int) -> None:
    asked = Asked(made(count, SEED), Tenant(clock=ZoneInfo(zone)))
    known = clock_probe.known_from(asked.minutes("2024-01-20T00:00")[:40])
    assert known is not None
    offset = clock_probe.find_offset(asked, known)
    assert offset is not None

    later = clock_probe.first_days(asked.minutes(shift(known.early, clock_probe.HALF_A_YEAR)))
    assert later is not None
    window = clock_probe.look(asked, later, offset, offset)

    change = clock_probe.change_since(window, offset)
    expected = timedelta(hours=hours) if known.early < "2024-03" else None
    assert change is not None
    assert expected is None or change == expected
