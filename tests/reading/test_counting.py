"""What came is compared with what the API says there is; an absence proves nothing by itself."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from conftest import SEED, Bench

from tap_nexudus_usage.errors import (
    AccessError,
    ApiError,
    InvalidRecordError,
    UnansweredError,
    UncountedError,
)
from tap_nexudus_usage.run import checkpoints
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.records import Ledger, Table, dotnet
from tap_nexudus_usage.sandbox.tenant import offset
from tap_nexudus_usage.sandbox.tokens import READ, User
from tap_nexudus_usage.sandbox.turmoil import Turmoil, update_one
from tap_nexudus_usage.singer.tap import TapNexudusUsage

MORNING = datetime(2025, 1, 15, 9, tzinfo=timezone.utc)
EMPTY = '{"Records": [], "TotalItems": 0, "HasNextPage": false}'
HTML = "<html><body>404 Not Found</body></html>"


def full_table(bench: Bench, **settings: Any) -> list[dict[str, Any]]:
    """The messages of a full table refresh that goes well."""
    tap = TapNexudusUsage(validate_config=False)
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    catalog["streams"][0]["replication_method"] = "FULL_TABLE"
    run = bench.run(catalog=catalog, emit_activate_version_messages=True, **settings)
    assert run.error is None
    return run.messages


def activates(messages: list[dict[str, Any]]) -> bool:
    return messages[-1]["type"] == "ACTIVATE_VERSION"


def ids_in(messages: list[dict[str, Any]]) -> list[int]:
    return sorted(m["record"]["Id"] for m in messages if m["type"] == "RECORD")


def stamp(bench: Bench, *, apart: timedelta = timedelta(0)) -> None:
    """Stamp all records, one after the other."""
    for number, record_id in enumerate(bench.ledger):
        bench.ledger.change(record_id, UpdatedOn=dotnet(MORNING + number * apart))


# By search


@pytest.mark.parametrize(("count", "page_size"), [(5, 2), (2_600, None)])
@pytest.mark.parametrize("ties", ["turning", "random"])
def test_equal_stamps_in_another_order_on_each_page_hide_nothing(
    make_bench: Callable[..., Bench], ties: str, count: int, page_size: int | None
) -> None:
    bench = make_bench(count, ties=ties)
    stamp(bench)
    bench.ledger.insert(UpdatedOn=dotnet(MORNING + timedelta(weeks=3)))

    run = bench.read(record_ids=None, page_size=page_size)

    assert sorted(run.ids) == list(bench.ledger)
    assert activates(full_table(bench, record_ids=None, page_size=page_size))


@pytest.mark.parametrize(("count", "cap", "page_size"), [(18, 5, 10), (1_800, 500, None)])
def test_a_cap_that_nothing_tells_of_hides_nothing(
    make_bench: Callable[..., Bench], count: int, cap: int, page_size: int | None
) -> None:
    bench = make_bench(count, page_cap=cap, cap_is_silent=True)
    stamp(bench, apart=timedelta(minutes=1))

    assert bench.read(record_ids=None, page_size=page_size).ids == list(bench.ledger)


def test_a_cap_that_nothing_tells_of_hides_nothing_of_one_minute(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(180, page_cap=5, cap_is_silent=True)
    stamp(bench)

    assert sorted(bench.read(record_ids=None, page_size=100).ids) == list(bench.ledger)


@pytest.mark.parametrize("page_size", [5, 1_000])
@pytest.mark.parametrize("skip", range(5))
def test_an_empty_answer_in_passing_deletes_and_hides_nothing(
    make_bench: Callable[..., Bench], skip: int, page_size: int
) -> None:
    bench = make_bench(18)
    empty = Fault(status=200, body=EMPTY, endpoints=("search",), skip=skip)
    bench.world.faults.append(empty)

    messages = full_table(bench, record_ids=None, page_size=page_size)

    assert ids_in(messages) == list(bench.ledger)


@pytest.mark.parametrize("shown", [1, 3, 9])
def test_a_part_of_the_ledger_in_passing_is_not_taken_for_all(
    make_bench: Callable[..., Bench], shown: int
) -> None:
    bench = make_bench(18)
    records = [bench.ledger.get(record_id) for record_id in list(bench.ledger)[:shown]]
    by_stamp = sorted(records, key=lambda record: str((record or {})["UpdatedOn"]))
    body = json.dumps({"Records": by_stamp, "TotalItems": shown, "HasNextPage": False})
    bench.world.faults.append(Fault(status=200, body=body, endpoints=("search",)))

    assert sorted(bench.read(record_ids=None).ids) == list(bench.ledger)


def test_a_ledger_that_counts_more_than_it_shows_is_an_error_and_deletes_nothing(
    bench: Bench,
) -> None:
    records = [bench.ledger.get(record_id) for record_id in list(bench.ledger)[:1]]
    body = json.dumps({"Records": records, "TotalItems": 20, "HasNextPage": False})
    bench.world.faults.append(Fault(status=200, body=body, endpoints=("search",), times=None))

    run = bench.run(record_ids=None)

    assert isinstance(run.error, ApiError)
    assert "20" in str(run.error)
    assert len(run.ids) == 1
    assert len(bench.world.calls) < 60


@pytest.mark.parametrize("page_size", [3, 1_000])
@pytest.mark.parametrize("has_next_page", ["always", "never", "null"])
def test_what_is_said_of_a_next_page_is_no_more_than_a_hint(
    make_bench: Callable[..., Bench], has_next_page: str, page_size: int
) -> None:
    bench = make_bench(40, has_next_page=has_next_page)
    stamp(bench, apart=timedelta(seconds=20))

    run = bench.read(record_ids=None, page_size=page_size)

    assert sorted(run.ids) == list(bench.ledger)


@pytest.mark.parametrize("page_size", [3, 1_000])
def test_a_total_that_is_a_guess_ends_in_all_or_in_an_error(
    make_bench: Callable[..., Bench], page_size: int
) -> None:
    bench = make_bench(40, estimates=True)

    run = bench.run(record_ids=None, page_size=page_size, max_retries=3)

    assert isinstance(run.error, ApiError) or sorted(run.ids) == list(bench.ledger)
    assert len(bench.world.calls) < 600


def test_an_order_that_is_right_to_the_minute_is_right_enough(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(200, sorts_by="milliseconds")
    for number, record_id in enumerate(bench.ledger):
        moment = MORNING + timedelta(minutes=number // 5)
        ticks = (7 * number) % 10
        bench.ledger.change(record_id, UpdatedOn=f"{moment:%Y-%m-%dT%H:%M:%S}.123{ticks}45{ticks}Z")

    assert sorted(bench.read(record_ids=None, page_size=20).ids) == list(bench.ledger)


def test_a_crowded_minute_that_changes_all_the_time_costs_calls_by_its_pages(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(1_500)
    stamp(bench)
    chance = random.Random(SEED)  # noqa: S311 - chance, no secret
    bench.world.turmoil = Turmoil(ordered=[partial(update_one, chance=chance)] * 1_000)

    run = bench.read(record_ids=None, page_size=200)
    calls = bench.count_calls()
    bench.world.turmoil = None
    last = bench.read(record_ids=None, page_size=200, state=run.state)

    assert calls <= 60
    latest = {record["Id"]: record for record in run.records + last.records}
    assert set(run.ids) == set(bench.ledger)
    assert all(latest[record_id] == bench.expected(record_id) for record_id in bench.ledger)


def test_an_hour_of_crowded_minutes_takes_a_call_for_each_page(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(10_000)
    for number, record_id in enumerate(bench.ledger):
        moment = MORNING + number * timedelta(hours=1) / 10_000
        bench.ledger.change(record_id, UpdatedOn=dotnet(moment))

    run = bench.read(record_ids=None, page_size=40)

    # 60 minutes of 166 or 167 records, five pages each.
    assert bench.count_calls() <= 60 * 5 + 20
    assert sorted(run.ids) == list(bench.ledger)


@pytest.mark.parametrize("crowded", [True, False])
def test_a_total_of_the_page_only_is_told(
    make_bench: Callable[..., Bench], *, crowded: bool
) -> None:
    bench = make_bench(12, counts_page_only=True)
    stamp(bench, apart=timedelta(minutes=not crowded))

    run = bench.run(record_ids=None, page_size=5, max_retries=2)

    assert isinstance(run.error, ApiError)


@pytest.mark.crossing
@pytest.mark.parametrize("uncounted", [True, False])
@pytest.mark.parametrize("clock", [-5, 0, 2, 8])
@pytest.mark.parametrize("page_size", [10, 1_000])
@pytest.mark.parametrize("skip", range(4))
def test_a_record_left_out_in_passing_comes_all_the_same(
    make_bench: Callable[..., Bench], skip: int, page_size: int, clock: int, *, uncounted: bool
) -> None:
    bench = make_bench(30, clock=offset(clock))
    stamp(bench, apart=timedelta(hours=3))
    bench.world.faults.append(Fault("omit", endpoints=("search",), skip=skip, uncounted=uncounted))

    assert sorted(bench.read(record_ids=None, page_size=page_size).ids) == list(bench.ledger)


@pytest.mark.parametrize(
    ("page_size", "apart"), [(20, timedelta(weeks=1)), (4, timedelta(seconds=10))]
)
@pytest.mark.parametrize("skip", range(1, 9))
def test_what_is_read_again_comes_once_though_the_states_have_forgotten_it(
    make_bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    skip: int,
    page_size: int,
    apart: timedelta,
) -> None:
    """On the last page, and in minutes that don't fit on one."""
    monkeypatch.setattr(checkpoints, "STATE_EVERY", 1)
    bench = make_bench(32)
    stamp(bench, apart=apart)
    bench.world.faults.append(Fault("omit", endpoints=("search",), skip=skip))

    run = bench.read(record_ids=None, lookback_hours=0, page_size=page_size)

    assert sorted(run.ids) == list(bench.ledger)


@pytest.mark.parametrize("clock", [0, 2, 8])
def test_what_a_run_missed_is_covered_by_its_state(
    make_bench: Callable[..., Bench], clock: int
) -> None:
    bench = make_bench(30, clock=offset(clock))
    stamp(bench, apart=timedelta(weeks=1))
    bench.world.faults.append(Fault("omit", endpoints=("search",), times=None))

    first = bench.run(record_ids=None)
    bench.world.faults.clear()
    second = bench.read(record_ids=None, state=first.state)

    assert isinstance(first.error, UncountedError)
    assert {*first.ids, *second.ids} == set(bench.ledger)


def test_an_answer_that_was_not_taken_is_not_where_it_reads_on(
    make_bench: Callable[..., Bench],
) -> None:
    """As many go as it would leave out, and as many come as it had counted."""
    bench = make_bench(20)
    stamp(bench, apart=timedelta(hours=3))
    ids = list(bench.ledger)

    def delete(*record_ids: int, inserts: int = 0) -> Callable[[Table], None]:
        def change(table: Table) -> None:
            for record_id in record_ids:
                table.delete(record_id)
            for _ in range(inserts):
                table.insert()

        return change

    # The second answer counts one too few, so the first is asked for again, and is empty.
    bench.world.turmoil = Turmoil(ordered=[delete(), delete(ids[19]), delete(*ids[:4], inserts=5)])
    bench.world.faults.append(Fault(status=200, body=EMPTY, endpoints=("search",), skip=2))

    run = bench.read(record_ids=None, page_size=6)

    assert {*bench.ledger} <= {*run.ids}


@pytest.mark.parametrize("calls", [2, 3])
def test_what_a_run_knows_to_have_missed_is_covered_where_it_dies_looking_for_it(
    make_bench: Callable[..., Bench], calls: int
) -> None:
    bench = make_bench(30)
    stamp(bench, apart=timedelta(weeks=1))
    bench.world.faults += [
        Fault("omit", endpoints=("search",)),
        # After what is left, and the count.
        Fault(status=401, endpoints=("search",), skip=calls, times=None),
    ]

    first = bench.run(record_ids=None)
    bench.world.faults.clear()
    second = bench.read(record_ids=None, state=first.state)

    assert {*first.ids, *second.ids} == set(bench.ledger)


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_what_was_left_out_is_covered_where_a_run_dies_before_it_is_counted(
    make_bench: Callable[..., Bench], calls: int
) -> None:
    bench = make_bench(30)
    stamp(bench, apart=timedelta(weeks=1))
    bench.world.faults += [
        Fault("omit", endpoints=("search",), uncounted=True),
        Fault(status=401, endpoints=("search",), skip=calls, times=None),
    ]

    first = bench.run(record_ids=None, page_size=6)
    bench.world.faults.clear()
    second = bench.read(record_ids=None, state=first.state)

    assert isinstance(first.error, AccessError)
    assert first.ids
    assert sorted(first.ids + second.ids) == list(bench.ledger)


def test_a_first_load_that_dies_again_and_again_gets_on(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "STATE_EVERY", 10)
    bench = make_bench(120)
    stamp(bench, apart=timedelta(weeks=1))
    state: dict[str, Any] = {}
    ids: list[int] = []
    for _ in range(5):
        dies = Fault(status=401, endpoints=("search",), skip=5, times=None)
        bench.world.faults[:] = [dies]
        run = bench.run(record_ids=None, state=state, page_size=6)
        ids, state = ids + run.ids, run.state

    assert ids == list(bench.ledger)[: len(ids)]
    assert len(ids) > 100


def test_a_count_that_is_empty_in_passing_deletes_nothing_without_a_stamp(
    make_bench: Callable[..., Bench],
) -> None:
    for skip in range(6):
        bench = make_bench(20)
        bench.ledger.change(list(bench.ledger)[3], UpdatedOn=None)
        empty = Fault(status=200, body=EMPTY, endpoints=("search",), skip=skip)
        bench.world.faults.append(empty)

        assert not activates(full_table(bench, record_ids=None))


def test_a_ledger_that_is_empty_for_a_moment_deletes_nothing(bench: Bench) -> None:
    bench.world.faults.append(Fault(status=200, body=EMPTY, endpoints=("search",), times=4))

    assert not activates(full_table(bench, record_ids=None))


def test_a_change_after_the_last_page_comes_even_without_lookback(bench: Bench) -> None:
    def change(ledger: Ledger) -> None:
        ledger.change(list(ledger)[2], UpdatedOn="2026-03-01T10:00:59Z", CreditUsed=777)
        ledger.insert(UpdatedOn="2026-03-01T10:01:00Z")

    bench.world.turmoil = Turmoil(ordered=[lambda _: None, change])

    first = bench.read(record_ids=None, lookback_hours=0)
    second = bench.read(record_ids=None, lookback_hours=0, state=first.state)

    latest = {record["Id"]: record for record in first.records + second.records}
    assert all(latest[record_id] == bench.expected(record_id) for record_id in bench.ledger)


@pytest.mark.crossing
@pytest.mark.parametrize("total", ["1e15", "1e999", "NaN", "123456789012345678901"])
@pytest.mark.parametrize("skip", range(6))
def test_a_total_beyond_reason_in_passing_costs_few_calls(
    make_bench: Callable[..., Bench], skip: int, total: str
) -> None:
    bench = make_bench(20)
    stamp(bench)
    record = json.dumps(bench.ledger.get(next(iter(bench.ledger))))
    body = f'{{"Records": [{record}], "TotalItems": {total}, "HasNextPage": true}}'
    bench.world.faults.append(Fault(status=200, body=body, endpoints=("search",), skip=skip))

    run = bench.read(record_ids=None, page_size=5)

    assert sorted(run.ids) == list(bench.ledger)
    assert len(bench.world.calls) < 60


def answer_searches_with(bench: Bench, records: list[Any], total: int) -> None:
    """The same page for every search, whatever it asks for."""
    body = json.dumps({"Records": records, "TotalItems": total, "HasNextPage": False})
    fault = Fault(status=200, body=body, endpoints=("search",), times=None)
    bench.world.faults.append(fault)


def test_a_record_without_the_key_of_its_stamp_is_emitted_as_by_id(bench: Bench) -> None:
    first, second = (bench.ledger.get(record_id) or {} for record_id in list(bench.ledger)[:2])
    without = {name: value for name, value in first.items() if name != "UpdatedOn"}
    answer_searches_with(bench, [without, second], 2)

    assert bench.read(record_ids=None).ids == [first["Id"], second["Id"]]


def test_stamps_of_another_format_on_a_whole_page_break_the_schema(bench: Bench) -> None:
    some = {**(bench.ledger.get(next(iter(bench.ledger))) or {}), "UpdatedOn": "01/15/2025 10:30"}
    answer_searches_with(bench, [{**some, "Id": number} for number in (1, 2, 3)], 9)

    run = bench.run(record_ids=None, page_size=3)

    assert isinstance(run.error, InvalidRecordError)
    assert "UpdatedOn should be a date-time" in str(run.error)


# By Id

GATEWAY = [{"body": HTML}, {"body": HTML, "headers": {"Content-Type": "text/html"}}, {"body": ""}]


@pytest.mark.crossing
@pytest.mark.parametrize("answer", GATEWAY)
@pytest.mark.parametrize("batch_size", [1, 200])
@pytest.mark.parametrize("told", ["warn", "fail", "tombstone"])
def test_a_gateway_that_answers_404_to_everything_deletes_nothing(
    bench: Bench, told: str, batch_size: int, answer: dict[str, Any]
) -> None:
    settings = {"on_missing_record": told, "batch_size": batch_size}
    first = bench.read(**settings)
    endpoints = ("one", "many", "search", "me")
    bench.world.faults.append(Fault(status=404, endpoints=endpoints, times=None, **answer))
    bench.count_calls()

    second = bench.run(state=first.state, **settings)

    assert isinstance(second.error, UnansweredError)
    assert "gateway" in str(second.error) or "404" in str(second.error)
    assert second.records == []
    assert second.bookmark == first.bookmark


@pytest.mark.crossing
@pytest.mark.parametrize("answer", GATEWAY)
@pytest.mark.parametrize("batch_size", [1, 7, 200])
@pytest.mark.parametrize("skip", [0, 3, 20, 60])
def test_a_gateway_that_answers_404_for_a_moment_deletes_nothing(
    make_bench: Callable[..., Bench], skip: int, batch_size: int, answer: dict[str, Any]
) -> None:
    bench = make_bench(80)
    settings = {"on_missing_record": "tombstone", "batch_size": batch_size}
    first = bench.read(**settings)
    changed = list(bench.ledger)[::3]
    for record_id in changed:
        bench.ledger.change(record_id, CreditUsed=7)
    fault = Fault(status=404, endpoints=("one", "many", "search", "me"), skip=skip, times=25)
    fault.body, fault.headers = answer["body"], answer.get("headers", {})
    bench.world.faults.append(fault)

    second = bench.run(state=first.state, **settings)

    assert all(record["_sdc_deleted_at"] is None for record in second.records)
    assert second.error is not None or sorted(second.ids) == changed


def test_a_full_table_by_id_deletes_nothing_on_a_gateways_word(bench: Bench) -> None:
    tap = TapNexudusUsage(validate_config=False)
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    catalog["streams"][0]["replication_method"] = "FULL_TABLE"
    endpoints = ("one", "many", "search", "me")
    bench.world.faults.append(Fault(status=404, endpoints=endpoints, times=None))

    run = bench.run(catalog=catalog, emit_activate_version_messages=True)

    assert isinstance(run.error, ApiError)
    assert "ACTIVATE_VERSION" not in {message["type"] for message in run.messages}


@pytest.mark.parametrize("roles", [None, {READ}])
def test_the_only_id_that_is_really_gone_becomes_a_tombstone(
    make_bench: Callable[..., Bench], roles: set[str] | None
) -> None:
    bench = make_bench(user=User(roles=frozenset(roles)) if roles else None)
    gone = next(iter(bench.ledger))
    first = bench.read(record_ids=[gone], on_missing_record="tombstone")
    bench.ledger.delete(gone)

    second = bench.read(record_ids=[gone], on_missing_record="tombstone", state=first.state)

    assert [(r["Id"], r["_sdc_deleted_at"] is not None) for r in second.records] == [(gone, True)]


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("batch_size", [1, 200])
def test_404_and_410_are_gone(bench: Bench, status: int, batch_size: int) -> None:
    first = bench.read(on_missing_record="tombstone")
    gone = list(bench.ledger)[4]
    bench.world.faults += [
        Fault(status=status, endpoints=("one",), ids=(gone,), times=None),
        Fault(status=400, endpoints=("many",), ids=(gone,), times=None),
    ]

    second = bench.read(on_missing_record="tombstone", state=first.state, batch_size=batch_size)

    assert second.ids == [gone]


@pytest.mark.parametrize("answer", [{"status": 404}, {"status": 204}, {"body": "null"}])
def test_batches_of_which_no_id_exists_cost_no_more_than_one_by_one(
    make_bench: Callable[..., Bench], answer: dict[str, Any]
) -> None:
    bench = make_bench(299)
    ids = list(bench.ledger)
    exists = ids[130:170]
    for record_id in set(ids) - set(exists):
        bench.ledger.delete(record_id)
    gone = [i for i in ids if i not in exists]
    answer = {"status": 200, **answer}
    fault = Fault(endpoints=("many",), times=None, **answer)
    fault.unless_ids = exists
    bench.world.faults.append(fault)

    run = bench.read(record_ids=ids, batch_size=20)

    assert sorted(run.ids) == exists
    assert gone
    assert bench.count_calls() <= 299 + 5


@pytest.mark.crossing
@pytest.mark.parametrize("told", ["warn", "fail", "tombstone"])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (7, 1), (7, 4), (200, 4)])
@pytest.mark.parametrize("every", [2, 3, 4])
def test_one_of_several_servers_that_finds_nothing_deletes_nothing(
    bench: Bench, every: int, batch_size: int, threads: int, told: str
) -> None:
    settings = {
        "on_missing_record": told,
        "batch_size": batch_size,
        "max_concurrent_requests": threads,
    }
    first = bench.read(**settings)
    endpoints = ("one", "many", "search", "me")
    bench.world.faults += [
        Fault(status=404, endpoints=endpoints, skip=every - 1, times=1) for _ in range(200)
    ]

    second = bench.run(state=first.state, **settings)

    assert second.error is not None or second.records == []
    assert all(record["_sdc_deleted_at"] is None for record in second.records)


def test_an_id_that_get_many_keeps_back_comes_beside_others_that_are_gone(bench: Bench) -> None:
    ids = list(bench.ledger)
    for record_id in ids[5:15]:
        if record_id != ids[8]:
            bench.ledger.delete(record_id)
    body = json.dumps([bench.ledger.get(i) for i in bench.ledger if i != ids[8]])
    bench.world.faults.append(Fault(status=200, body=body, endpoints=("many",)))
    bench.world.faults.append(Fault(status=200, body="[]", endpoints=("many",), times=None))

    assert sorted(bench.read(record_ids=ids).ids) == list(bench.ledger)
