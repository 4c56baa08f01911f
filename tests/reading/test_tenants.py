"""Whatever a tenant makes of what the documents leave open: all comes, once, in few calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timezone
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import SEED, Bench, run_tap_with
from model_target import ModelTarget
from outcomes import STREAM
from pairwise import pairwise
from protocols import Singer
from wide import quick_first

from tap_nexudus_usage.errors import ApiError
from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.run import checkpoints
from tap_nexudus_usage.sandbox.records import Ledger
from tap_nexudus_usage.sandbox.tenant import offset
from tap_nexudus_usage.sandbox.tokens import LIST, READ, User

BOUNDS = frozenset(f"{end}_{LEDGER.filter('UpdatedOn')}" for end in ("from", "to"))

CLOCKS = {
    **{f"{hours:+}": offset(hours) for hours in (2, -5, 13, -11.5, 5.75)},
    **{name: ZoneInfo(name) for name in ("Europe/Lisbon", "America/New_York", "Pacific/Auckland")},
}

OPTIONS: dict[str, Sequence[Any]] = {
    "way": ("search", "id"),
    "dir_reading": ("new", "old", "words"),
    "clock": (timezone.utc, offset(-5), offset(5.75), ZoneInfo("Europe/Lisbon")),
    "get_many_forms": (("array", "filter"), ("array",), ("filter",), ()),
    "ties": ("by_id", "turning", "random"),
    "cap": (None, "told", "silent"),
    "has_next_page": ("rightly", "always", "never", "null"),
    "stamps_end_in_z": (True, False),
    "throttle_answer": (None, 409, 429),
    "missing_role_status": (None, 401, 403),
    "blank": ((), ("BookingResourceName", "UniqueId")),
    "byte_order_mark": (False, True),
}
COMBINATIONS = pairwise(OPTIONS, SEED)


def crowd(ledger: Ledger, number: int) -> None:
    """Stamp so many records in one minute, some of them alike."""
    for second, record_id in enumerate([*ledger][:number]):
        stamp = f"2025-01-15T10:30:{second // 3 % 60:02}Z"
        ledger.change(record_id, UpdatedOn=stamp)


def change_ten(ledger: Ledger) -> list[int]:
    changed = [*ledger][:: len(ledger) // 10][:10]
    for record_id in changed:
        ledger.change(record_id, CreditUsed=7)
    return changed


@pytest.mark.crossing
@pytest.mark.parametrize("crowded", [0, 340])
@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_in_whatever_clock_bounds_are_read_all_comes_in_few_calls(
    make_bench: Callable[..., Bench], clock: Any, crowded: int
) -> None:
    bench = make_bench(4_000, clock=clock, page_cap=170)
    bench.config["record_ids"] = None
    crowd(bench.ledger, crowded)

    first = bench.read()
    calls_of_first = bench.count_calls()
    changed = change_ten(bench.ledger)
    second = bench.read(state=first.state)

    assert sorted(first.ids) == [*bench.ledger]
    assert calls_of_first <= 120
    assert second.records == [bench.expected(record_id) for record_id in changed]
    assert bench.count_calls() <= 20


@pytest.mark.parametrize(
    ("forms", "most_calls"),
    [(("filter",), 14), (("array", "filter"), 12), (("array",), 12), ((), 625)],
)
def test_either_form_of_get_many_makes_few_calls_and_tells_deletions(
    make_bench: Callable[..., Bench], forms: Sequence[str], most_calls: int
) -> None:
    bench = make_bench(900, get_many_forms=frozenset(forms))
    ids = [*bench.ledger][::3] + [*bench.ledger][1::3]

    first = bench.read(record_ids=ids)
    calls = bench.count_calls()
    gone = ids[100:500:100]
    for record_id in gone:
        bench.ledger.delete(record_id)
    second = bench.read(record_ids=ids, state=first.state, on_missing_record="tombstone")

    assert first.ids == ids
    assert calls <= most_calls
    assert second.ids == gone
    assert all(record["_sdc_deleted_at"] for record in second.records)


@pytest.mark.parametrize("also", [frozenset[str](), frozenset({"orderBy"})])
@pytest.mark.parametrize("crowded", [0, 700])
def test_an_api_that_ignores_what_is_asked_ends_the_run_soon(
    make_bench: Callable[..., Bench], also: frozenset[str], crowded: int
) -> None:
    bench = make_bench(1_500, ignored=BOUNDS | {"page"} | also)
    bench.config["record_ids"] = None
    crowd(bench.ledger, crowded)

    run = bench.run(page_size=500)

    assert isinstance(run.error, ApiError)
    assert bench.count_calls() <= 30


def test_each_reading_meets_every_other() -> None:
    met = {
        (one, str(combination[one]), other, str(combination[other]))
        for combination in COMBINATIONS
        for one, other in combinations(OPTIONS, 2)
    }

    pairs = (len(OPTIONS[one]) * len(OPTIONS[other]) for one, other in combinations(OPTIONS, 2))
    assert len(met) == sum(pairs)
    assert len(COMBINATIONS) < 40


@pytest.mark.parametrize(
    "combination", quick_first(9, COMBINATIONS), ids=lambda c: "-".join(map(str, c.values()))
)
def test_every_combination_delivers_all_once(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, combination: dict[str, Any]
) -> None:
    monkeypatch.setattr(checkpoints, "STATE_EVERY", 9)
    bench = bench_of(make_bench, combination)
    target = ModelTarget()

    def load(*, until: float = 1.0) -> list[int]:
        state = {"bookmarks": {STREAM: target.bookmark}} if target.bookmark else {}
        output = b"".join(line + b"\n" for line in bench.read(state=state).lines)
        messages = Singer().messages(output[: int(len(output) * until)])
        return [record["Id"] for record in target.take(messages)]

    killed = load(until=0.6)
    assert 0 < len(killed) < len(bench.ledger)
    load()
    assert {*target.rows} == {*bench.ledger}
    assert load() == []
    changed = change_ten(bench.ledger)
    assert sorted(load()) == sorted(changed)

    may_be_empty = set(combination["blank"])
    if combination["way"] == "id" and "array" in combination["get_many_forms"]:
        may_be_empty.clear()
    for record_id in bench.ledger:
        row = target.rows[record_id]
        left_empty = {name: None for name in may_be_empty if row[name] is None}
        assert row == {**bench.expected(record_id), **left_empty}


@pytest.mark.parametrize(
    "combination", quick_first(9, COMBINATIONS), ids=lambda c: "-".join(map(str, c.values()))
)
def test_the_connection_test_passes_where_a_run_works(
    make_bench: Callable[..., Bench], combination: dict[str, Any]
) -> None:
    bench = bench_of(make_bench, combination)

    finished = run_tap_with(bench.settings(requests_per_minute=120), "--test")

    assert finished.code == 0, finished.last_line
    assert "First run: about" in finished.last_line
    assert bench.count_calls() <= 15


def bench_of(make_bench: Callable[..., Bench], combination: dict[str, Any]) -> Bench:
    """A tenant of this combination, with a crowded minute, and a tap for it."""
    readings = dict(combination)
    way, cap, blank = (readings.pop(name) for name in ("way", "cap", "blank"))
    if readings["throttle_answer"] is None:
        del readings["throttle_answer"]
    else:
        readings |= {"throttled": True, "time_scale": 1 / 1_000}
    if readings["missing_role_status"] is None:
        del readings["missing_role_status"]
    else:
        readings["user"] = User(roles=frozenset({READ if way == "id" else LIST}))
    bench = make_bench(
        80,
        get_many_forms=frozenset(readings.pop("get_many_forms")),
        page_cap=1_000 if cap is None else 7,
        cap_is_silent=cap == "silent",
        blank_in_lists=frozenset(blank),
        **readings,
    )
    if way == "search":
        bench.config["record_ids"] = None
    bench.config |= {"batch_size": 25, "page_size": 12}
    crowd(bench.ledger, 30)
    return bench
