"""Configured Ids: all are read, in few calls, whatever an answer leaves out or adds."""

from __future__ import annotations

import json
from collections.abc import Callable

from conftest import Bench

from tap_nexudus_usage.errors import ApiError
from tap_nexudus_usage.sandbox.faults import Fault


def test_two_thousand_ids_take_at_most_twelve_calls(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(2_000)

    run = bench.read()

    assert bench.count_calls() <= 12
    assert run.records == [bench.expected(record_id) for record_id in bench.ledger]


def test_records_come_in_the_order_configured_and_once(bench: Bench) -> None:
    first, second, third = list(bench.ledger)[:3]

    run = bench.read(record_ids=[third, first, third, second, first])

    assert run.ids == [third, first, second]


def test_an_empty_answer_in_passing_makes_no_tombstones(bench: Bench) -> None:
    first = bench.read(on_missing_record="tombstone")
    bench.world.faults.append(Fault(status=200, body="[]", endpoints=("many",), times=None))

    second = bench.read(on_missing_record="tombstone", state=first.state)

    assert second.records == []


def test_an_incomplete_answer_in_passing_hides_no_record(bench: Bench) -> None:
    bench.world.faults.append(Fault(status=200, body="[]", endpoints=("many",)))

    assert bench.read().ids == list(bench.ledger)


def test_another_record_than_the_one_asked_for_is_an_error(bench: Bench) -> None:
    ids = list(bench.ledger)
    other = json.dumps(bench.ledger.get(ids[-1]))
    bench.world.faults.append(
        Fault(status=200, body=other, endpoints=("one",), ids=(ids[3],), times=None)
    )

    run = bench.run(record_ids=ids[:-1], batch_size=1)

    assert run.ids == [*ids[:3], *ids[4:-1]]
    assert isinstance(run.error, ApiError)
    assert f"another record, Id {ids[-1]}" in str(run.error)


def test_a_record_not_asked_for_costs_calls_and_no_record(bench: Bench) -> None:
    ids = list(bench.ledger)
    body = json.dumps([bench.ledger.get(ids[-1])])
    bench.world.faults.append(Fault(status=200, body=body, endpoints=("many",), skip=1))

    run = bench.read(record_ids=ids[:-1], batch_size=10, max_concurrent_requests=1)

    assert run.ids == ids[:-1]


def test_a_page_that_holds_all_ids_by_chance_is_no_proof_of_get_many(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(30, get_many_forms=frozenset())
    ids = list(bench.ledger)
    first = bench.read(record_ids=ids, on_missing_record="tombstone")
    for record_id in ids[3:6]:
        bench.ledger.delete(record_id)

    second = bench.read(record_ids=ids, on_missing_record="tombstone", state=first.state)

    assert sorted(second.ids) == ids[3:6]
