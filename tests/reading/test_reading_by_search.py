"""Search: the whole ledger, then what changed, whatever happens between two pages."""

from __future__ import annotations

import json
import logging
import os
import random
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import SEED, Bench, run_measured
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from outcomes import Run, catalog_of, merged

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.errors import AccessError, ApiError
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER, Entity
from tap_nexudus_usage.run import checkpoints
from tap_nexudus_usage.sandbox.allowances import Allowances
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.records import Ledger, Table, dotnet
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.tenant import Tenant, offset
from tap_nexudus_usage.sandbox.tokens import LIST, READ, User
from tap_nexudus_usage.sandbox.turmoil import Turmoil
from tap_nexudus_usage.sandbox.world import World
from tap_nexudus_usage.timestamps import canonical

MORNING = datetime(2025, 1, 15, 9, tzinfo=timezone.utc)

# That of Lisbon and New York is changed within the ledger, or within the run, where it is stamped
# about then.
CLOCKS = (
    *map(offset, (-12, -5, 2, 5.75, 14)),
    ZoneInfo("Europe/Lisbon"),
    ZoneInfo("America/New_York"),
)
CHANGES = [
    datetime(2024, 10, 27, 1, 3, tzinfo=timezone.utc),
    datetime(2025, 3, 30, 1, 3, tzinfo=timezone.utc),
    datetime(2024, 11, 3, 6, 3, tzinfo=timezone.utc),
    datetime(2025, 3, 9, 7, 3, tzinfo=timezone.utc),
]


@pytest.fixture
def make_search(make_bench: Callable[..., Bench]) -> Callable[..., Bench]:
    """Benches whose tap has no Ids configured."""

    def make(records: int = 20, **options: Any) -> Bench:
        bench = make_bench(records, **options)
        bench.config["record_ids"] = None
        return bench

    return make


def by_stamp(bench: Bench) -> list[int]:
    return sorted(bench.ledger, key=lambda i: (bench.expected(i)["UpdatedOn"], i))


def crowd(bench: Bench, minute: str = "2025-01-15T10:30", *, equal: bool = False) -> None:
    """Stamp all records in one minute."""
    for second, record_id in enumerate(bench.ledger):
        stamp = f"{minute}:00Z" if equal else f"{minute}:{second % 60:02}.5Z"
        bench.ledger.change(record_id, UpdatedOn=stamp)


def test_a_large_ledger_takes_few_calls_and_a_rerun_almost_none(
    make_search: Callable[..., Bench],
) -> None:
    bench = make_search(20_000)

    first = bench.read()
    assert bench.count_calls() <= 22
    assert sorted(first.records, key=lambda record: int(record["Id"])) == [
        bench.expected(record_id) for record_id in bench.ledger
    ]

    second = bench.read(state=first.state)
    assert bench.count_calls() <= 3
    assert second.records == []


def test_only_what_changed_comes_again(make_search: Callable[..., Bench]) -> None:
    bench = make_search(500)
    first = bench.read(page_size=100)
    changed = list(bench.ledger)[::100]
    for record_id in changed:
        bench.ledger.change(record_id, CreditUsed=7)
    inserted = bench.ledger.insert()["Id"]

    second = bench.read(state=first.state, page_size=100)

    assert second.records == [bench.expected(record_id) for record_id in [*changed, inserted]]


@pytest.mark.crossing
@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("dir_reading", ["new", "old"])
@pytest.mark.parametrize("page_size", [1, 2, 7, 50])
def test_a_minute_that_holds_more_than_a_page_loses_nothing(
    make_search: Callable[..., Bench], page_size: int, dir_reading: str, *, equal: bool
) -> None:
    bench = make_search(50, dir_reading=dir_reading)
    crowd(bench, equal=equal)
    early = bench.ledger.insert(UpdatedOn="2024-06-01T00:00:00Z")["Id"]
    late = bench.ledger.insert(UpdatedOn="2025-02-01T00:00:00Z")["Id"]

    run = bench.read(page_size=page_size)

    assert sorted(run.ids) == sorted(bench.ledger)
    assert (run.ids[0], run.ids[-1]) == (early, late)


@pytest.mark.parametrize("dir_reading", ["new", "old"])
def test_either_reading_of_dir_gives_everything_in_order(
    make_search: Callable[..., Bench], dir_reading: str
) -> None:
    bench = make_search(300, dir_reading=dir_reading)

    run = bench.read(page_size=50)

    assert run.ids == by_stamp(bench)


def test_a_capped_page_size_is_obeyed(make_search: Callable[..., Bench]) -> None:
    bench = make_search(300, page_cap=40)
    crowd(bench)

    assert sorted(bench.read(page_size=1_000).ids) == list(bench.ledger)


def test_a_search_that_ignores_its_bounds_is_told(make_search: Callable[..., Bench]) -> None:
    bench = make_search(40)
    records = [bench.ledger.get(record_id) for record_id in by_stamp(bench)][:10]
    body = {"Records": records, "TotalItems": 40, "HasNextPage": True}
    bench.world.faults.append(
        Fault(status=200, body=json.dumps(body), endpoints=("search",), times=None)
    )

    run = bench.run(page_size=10)

    assert isinstance(run.error, ApiError)
    assert "bounds" in str(run.error)


def test_a_search_that_does_not_sort_is_told(make_search: Callable[..., Bench]) -> None:
    bench = make_search(40)
    stamps = ["2025-01-15T10:30:00Z", "2025-01-15T10:32:00Z", "2025-01-15T10:31:00Z"]
    records = [{"Id": number, "UpdatedOn": stamp} for number, stamp in enumerate(stamps, 1)]
    body = {"Records": records, "TotalItems": 40, "HasNextPage": True}
    bench.world.faults.append(
        Fault(status=200, body=json.dumps(body), endpoints=("search",), times=None)
    )

    run = bench.run()

    assert isinstance(run.error, ApiError)
    assert "doesn't sort" in str(run.error)


def change_first(ledger: Ledger) -> None:
    ledger.change(next(iter(ledger)), CreditUsed=99)


def delete_first(ledger: Ledger) -> None:
    ledger.delete(next(iter(ledger)))


def insert_last(ledger: Ledger) -> None:
    ledger.insert()


@pytest.mark.parametrize("change", [change_first, delete_first, insert_last])
@pytest.mark.parametrize("crowded", [True, False])
def test_a_change_between_two_pages_hides_no_other_record(
    make_search: Callable[..., Bench], change: Callable[[Ledger], object], *, crowded: bool
) -> None:
    bench = make_search(30)
    if crowded:
        crowd(bench)
    bench.world.turmoil = Turmoil(ordered=[lambda _: None, *[change] * 5])

    run = bench.read(page_size=5)

    latest = {record["Id"]: record for record in run.records}
    for record_id in bench.ledger:
        assert latest[record_id] == bench.expected(record_id)


def test_a_run_ends_while_records_keep_changing(make_search: Callable[..., Bench]) -> None:
    bench = make_search(200)
    bench.world.turmoil = Turmoil(probability=0.7, seed=SEED)

    run = bench.read(page_size=20)
    bench.world.turmoil = None
    last = bench.read(page_size=20, state=run.state)

    latest = {record["Id"]: record for record in run.records + last.records}
    assert all(latest[i] == bench.expected(i) for i in bench.ledger)


def test_only_the_lookback_window_stays_in_the_state(make_search: Callable[..., Bench]) -> None:
    bench = make_search(300)
    newest = by_stamp(bench)[-1]
    moment = datetime.fromisoformat(canonical(bench.expected(newest)["UpdatedOn"])[:19])
    inside, outside = moment - timedelta(hours=25), moment - timedelta(hours=28)
    ids = list(bench.ledger)[:2]
    bench.ledger.change(ids[0], UpdatedOn=dotnet(inside))
    bench.ledger.change(ids[1], UpdatedOn=dotnet(outside))

    run = bench.read()

    assert str(ids[0]) in run.bookmark["emitted"]
    assert str(ids[1]) not in run.bookmark["emitted"]
    assert len(run.bookmark["emitted"]) < 30
    assert run.bookmark["read_by"] == "search"
    assert run.bookmark["replication_key_value"] == bench.expected(newest)["UpdatedOn"]


def test_a_late_commit_inside_the_lookback_is_found(make_search: Callable[..., Bench]) -> None:
    bench = make_search(50)
    newest = bench.expected(by_stamp(bench)[-1])["UpdatedOn"]
    first = bench.read()
    earlier = datetime.fromisoformat(newest[:19]) - timedelta(hours=25)
    late = bench.ledger.insert(UpdatedOn=dotnet(earlier))["Id"]

    assert bench.read(state=first.state).ids == [late]


def test_a_stamp_far_in_the_future_does_not_hide_what_comes(
    make_search: Callable[..., Bench],
) -> None:
    bench = make_search(20)
    bench.ledger.insert(UpdatedOn="2199-01-01T00:00:00Z")
    first = bench.read()
    changed = list(bench.ledger)[3]
    bench.ledger.change(changed, CreditUsed=1)

    second = bench.read(state=first.state)
    third = bench.read(state=second.state)

    assert (second.ids, third.ids) == ([changed], [])


@pytest.mark.parametrize("lookback_hours", [0, 26])
def test_a_stamp_far_in_the_future_hides_nothing_of_a_pause_longer_than_the_lookback(
    make_search: Callable[..., Bench], lookback_hours: int
) -> None:
    bench = make_search(20)
    bench.config["lookback_hours"] = lookback_hours
    bench.ledger.insert(UpdatedOn="2199-01-01T00:00:00Z")
    first = bench.read()
    moment = datetime.now(timezone.utc) - timedelta(days=5)
    in_the_pause = bench.ledger.insert(UpdatedOn=dotnet(moment))["Id"]

    second = bench.read(state=first.state)
    third = bench.read(state=second.state)

    assert first.bookmark["replication_key_value"] < "2199"
    assert (second.ids, third.ids) == ([in_the_pause], [])


def test_a_stamp_far_in_the_future_does_not_hide_what_changes_meanwhile(
    make_search: Callable[..., Bench],
) -> None:
    bench = make_search(20)
    bench.ledger.insert(UpdatedOn="2199-01-01T00:00:00Z")
    changed = list(bench.ledger)[3]

    def change_and_insert(ledger: Table) -> None:
        ledger.change(changed, CreditUsed=7)
        ledger.insert()

    bench.world.turmoil = Turmoil(ordered=[lambda _: None, change_and_insert])

    run = bench.read()

    latest = {record["Id"]: record for record in run.records}
    assert all(latest[i] == bench.expected(i) for i in bench.ledger)


@pytest.mark.parametrize("calls", range(6, 12))
def test_a_change_in_the_very_minute_that_is_being_read_comes_without_lookback(
    make_search: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    moment = datetime(2025, 1, 15, 10, 30, 30, tzinfo=timezone.utc)
    bench = make_search(ledger=Ledger(12, SEED, now=lambda: moment))
    monkeypatch.setattr(timestamps, "now", lambda: timestamps.from_datetime(moment))
    crowd(bench)

    def wait(seconds: int, change: Callable[[Table], object]) -> Callable[[Table], None]:
        def happen(table: Table) -> None:
            nonlocal moment
            moment += timedelta(seconds=seconds)
            change(table)

        return happen

    ordered = [wait(0, lambda _: None)] * calls
    bench.world.turmoil = Turmoil(ordered=[*ordered, wait(20, change_first), wait(20, insert_last)])

    first = bench.read(page_size=5, lookback_hours=0)
    second = bench.read(page_size=5, lookback_hours=0, state=first.state)

    latest = {record["Id"]: record for record in first.records + second.records}
    assert all(latest[i] == bench.expected(i) for i in bench.ledger)


def test_a_bookmark_in_the_future_is_put_back_to_the_newest_record_before(
    make_search: Callable[..., Bench],
) -> None:
    bench = make_search(20)
    future = bench.ledger.insert(UpdatedOn="2199-01-01T00:00:00Z")["Id"]
    state = bench.read().state
    # As earlier versions of the tap kept it.
    (bookmark,) = state["bookmarks"].values()
    bookmark["replication_key_value"] = bench.expected(future)["UpdatedOn"]
    moment = datetime.now(timezone.utc) - timedelta(days=5)
    in_the_pause = bench.ledger.insert(UpdatedOn=dotnet(moment))["Id"]

    second = bench.read(state=state)

    assert second.ids == [in_the_pause]
    assert second.bookmark["replication_key_value"] == bench.expected(in_the_pause)["UpdatedOn"]


def test_the_start_date_is_the_first_lower_bound(make_search: Callable[..., Bench]) -> None:
    bench = make_search(200)
    ids = by_stamp(bench)
    start = bench.expected(ids[150])["UpdatedOn"]

    first = bench.read(start_date=start, page_size=10)

    assert first.ids == ids[150:]
    assert bench.count_calls() <= 10
    assert bench.read(start_date=start, state=first.state).ids == []


def test_a_run_is_resumed_at_any_state(
    make_search: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "STATE_EVERY", 7)
    bench = make_search(120)
    whole = bench.read(page_size=10)
    starts = [i for i, message in enumerate(whole.messages) if message["type"] == "STATE"]
    assert len(starts) > 10

    for start in starts:
        before = Run(whole.messages[: start + 1])
        after = bench.read(page_size=10, state=before.state)
        assert before.ids + after.ids == whole.ids


def test_a_search_after_reading_by_id_begins_anew(make_search: Callable[..., Bench]) -> None:
    bench = make_search(60)
    some = list(bench.ledger)[::7]
    first = bench.read(record_ids=some)

    second = bench.read(state=first.state, page_size=10)
    third = bench.read(state=second.state, page_size=10)

    assert sorted(first.ids + second.ids) == list(bench.ledger)
    assert third.ids == []


def test_an_interrupted_search_after_reading_by_id_begins_where_it_was(
    make_search: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "STATE_EVERY", 5)
    bench = make_search(60)
    first = bench.read(record_ids=by_stamp(bench)[-3:])
    second = bench.read(state=first.state, page_size=10)
    cut = next(i for i, m in enumerate(second.messages[1:], 1) if m["type"] == "STATE")

    interrupted = Run(second.messages[: cut + 1])
    third = bench.read(state=interrupted.state, page_size=10)

    assert 0 < len(interrupted.ids) < 57
    assert sorted(first.ids + interrupted.ids + third.ids) == list(bench.ledger)


def test_a_search_after_reading_by_id_begins_anew_though_the_first_one_was_refused(
    make_search: Callable[..., Bench],
) -> None:
    bench = make_search(60, user=User(roles=frozenset({READ})))
    first = bench.read(record_ids=by_stamp(bench)[-3:])

    refused = bench.run(state=first.state)
    bench.world.user.roles = frozenset({READ, LIST})
    second = bench.read(state=merged(first.state, refused.state))

    assert isinstance(refused.error, AccessError)
    assert sorted(first.ids + second.ids) == list(bench.ledger)


def test_reading_by_id_after_a_search_misses_nothing(make_search: Callable[..., Bench]) -> None:
    bench = make_search(60)
    first = bench.read(page_size=10)
    ids = list(bench.ledger)
    changed = ids[5]
    bench.ledger.change(changed, UpdatedOn="2001-01-01T00:00:00Z")

    second = bench.read(record_ids=ids, state=first.state)

    assert changed in second.ids
    assert second.bookmark["read_by"] == "id"
    assert len(second.bookmark["emitted"]) == len(ids)


def test_a_record_without_stamp_is_left_out_of_a_search(make_search: Callable[..., Bench]) -> None:
    bench = make_search(20)
    unstamped = next(iter(bench.ledger))
    bench.ledger.change(unstamped, UpdatedOn=None)

    assert unstamped not in bench.read().ids


def test_a_missing_role_names_the_one_that_search_needs(make_search: Callable[..., Bench]) -> None:
    bench = make_search(user=User(roles=frozenset({READ})))

    run = bench.run()

    assert isinstance(run.error, AccessError)
    assert LIST in str(run.error)
    assert "record_ids" in str(run.error)


def test_faults_between_pages_are_survived(make_search: Callable[..., Bench]) -> None:
    bench = make_search(100)
    bench.world.faults += [
        Fault("reset", endpoints=("search",), skip=2),
        Fault("expire_token", endpoints=("search",), skip=2),
        Fault(status=409, headers={"Retry-After": "30"}, endpoints=("search",), skip=1, times=2),
    ]

    assert bench.read(page_size=10).ids == by_stamp(bench)


def test_the_summary_counts_records(
    make_search: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    make_search(20).read()

    assert re.search(r"20 records emitted, 20 records read, 20 counted; 3 calls", caplog.text)


@pytest.mark.long
def test_memory_stays_flat(make_search: Callable[..., Bench]) -> None:
    peaks = {}
    for count in (50_000, 500_000):
        bench = make_search(count)
        finished, peaks[count] = run_measured(bench.settings())
        assert finished.stdout.count('"RECORD"') == count
    print(peaks)  # noqa: T201 - shown with -s, or when it fails

    assert peaks[500_000] - peaks[50_000] < 40


# Whatever happens


class Target:
    """Holds what a target would, and judges whether the tap repeated itself."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.state: dict[str, Any] = {}
        self._covered: set[tuple[int, str]] = set()

    def take(self, messages: list[dict[str, Any]]) -> None:
        uncovered: set[tuple[int, str]] = set()
        for message in messages:
            if message["type"] == "RECORD":
                record = message["record"]
                version = (record["Id"], record["UpdatedOn"])
                assert version not in self._covered, f"emitted again: {version}"
                assert version not in uncovered, f"emitted twice: {version}"
                uncovered.add(version)
                self.rows[record["Id"]] = record
            elif message["type"] == "STATE":
                self.state = message["value"]
                self._covered |= uncovered
                uncovered.clear()


class VirtualTime:
    """Stamps of changes, later each time: a change that keeps its stamp is one nobody can see."""

    def __init__(self, chance: random.Random, start: datetime) -> None:
        self.moment = start
        self._chance = chance

    def __call__(self) -> datetime:
        self.moment += timedelta(milliseconds=self._chance.choice((1, 900, 20_000, 300_000)))
        return self.moment


class LateTurmoil(Turmoil):
    """Besides: records whose stamps are older than when they come to be seen."""

    def happen(self, ledger: Ledger) -> None:
        super().happen(ledger)
        if self.most != 0 and self._random.random() < self.probability / 4:
            hours = self._random.choice((0.01, 0.5, 20))
            moment = ledger._now() - timedelta(hours=hours)
            ledger.insert(UpdatedOn=dotnet(moment))


@pytest.fixture(scope="module")
def shared_bench() -> Iterator[Bench]:
    with Sandbox(World(Ledger(0), {ALLOWANCES: Allowances(0)})) as sandbox:
        yield Bench(sandbox, config={"record_ids": None})


EXAMPLES = int(os.environ.get("SEARCH_EXAMPLES", "30"))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 150,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    entity=st.sampled_from(ENTITIES),
    seed=st.integers(0, 2**32),
    count=st.integers(0, 25),
    start=st.sampled_from([MORNING, *CHANGES]),
    minutes=st.sampled_from([1, 3, 12, 180]),
    page_size=st.integers(1, 9),
    page_cap=st.integers(1, 9),
    tenant=st.fixed_dictionaries(
        {},
        optional={
            "dir_reading": st.sampled_from(["new", "old", "words"]),
            "ties": st.sampled_from(["turning", "random"]),
            "cap_is_silent": st.just(True),
            "sorts_by": st.just("milliseconds"),
            "has_next_page": st.sampled_from(["always", "never", "null"]),
            "clock": st.sampled_from(CLOCKS),
        },
    ),
    glitch=st.none() | st.integers(0, 12),
    probability=st.sampled_from([0.0, 0.3, 0.7]),
    state_every=st.integers(1, 15),
    kills=st.lists(st.floats(0, 1), max_size=2),
)
# An answer that is empty in passing, while it isn't known yet which dir ascends.
@example(
    entity=LEDGER,
    seed=323,
    count=0,
    start=MORNING,
    minutes=1,
    page_size=2,
    page_cap=2,
    tenant={},
    glitch=7,
    probability=0.3,
    state_every=1,
    kills=[],
)
def test_whatever_happens_nothing_is_lost_or_repeated(
    shared_bench: Bench,
    entity: Entity,
    seed: int,
    count: int,
    start: datetime,
    minutes: int,
    page_size: int,
    page_cap: int,
    tenant: dict[str, Any],
    glitch: int | None,
    probability: float,
    state_every: int,
    kills: list[float],
) -> None:
    chance = random.Random(seed)  # noqa: S311 - chance, no secret
    time = VirtualTime(chance, start)
    world = shared_bench.world
    world.ledger = Ledger(count, seed, now=time)
    world.others = {ALLOWANCES: Allowances(count, seed, now=time)}
    table, catalog = world.table(entity), catalog_of(entity.stream)
    for record_id in table:
        second = chance.choice((0, 0, 30, chance.random() * 60))
        moment = start - timedelta(minutes=chance.randint(1, minutes), seconds=-second)
        table.change(record_id, UpdatedOn=dotnet(moment, chance.choice((0, 7))))
    world.tenant = Tenant(page_cap=page_cap, **tenant)
    world.faults.clear()
    if glitch is not None:
        # One answer is empty in passing.
        body = '{"Records": [], "TotalItems": 0, "HasNextPage": false}'
        fault = Fault(status=200, body=body, endpoints=("search",), skip=glitch)
        world.faults.append(fault)
    world.turmoil = LateTurmoil(probability=probability, most=40, seed=seed)
    target = Target()
    way = {"catalog": catalog, "page_size": page_size}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "STATE_EVERY", state_every)
        for kill in kills:
            run = shared_bench.read(state=target.state, **way)
            # A run killed at any moment: nobody gets what it wrote after that.
            target.take(run.messages[: int(len(run.messages) * kill)])
        amid_changes = shared_bench.run(state=target.state, **way)
        # In the hour that passes twice, no offset explains what comes while records change: an
        # error then, never less than there is.
        passes_twice = isinstance(world.tenant.clock, ZoneInfo)
        assert amid_changes.error is None or (
            passes_twice and isinstance(amid_changes.error, ApiError)
        )
        target.take(amid_changes.messages)
        world.turmoil = None
        target.take(shared_bench.read(state=target.state, **way).messages)

    for record_id in table:
        assert target.rows[record_id] == shared_bench.expected(record_id, entity)
    emitted = target.state["bookmarks"][entity.stream]["emitted"]
    assert len(emitted) <= len(target.rows)
