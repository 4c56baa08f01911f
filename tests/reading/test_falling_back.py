"""Tenants that refuse get many, wholly or in part: a few calls more, never a record less."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest
from conftest import Bench
from wide import quick_first

from tap_nexudus_usage.nexudus import connection
from tap_nexudus_usage.nexudus.client import GetManyForm, NexudusClient
from tap_nexudus_usage.nexudus.pages import Record
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import READ, User


@pytest.mark.parametrize("status", quick_first(2, [404, 500, 400, 414, 405]))
def test_every_record_comes_where_get_many_is_refused_for_ever(
    make_bench: Callable[..., Bench], status: int
) -> None:
    bench = make_bench(450)
    bench.world.faults.append(Fault(status=status, endpoints=("many",), times=None))

    run = bench.read()

    assert run.records == [bench.expected(record_id) for record_id in bench.ledger]
    counted = bench.world.count()
    # One get one more than there are Ids, to see whether that works at all.
    assert counted["one"] == len(bench.ledger) + 1
    # Each thread's first batch, then one Id by either form, the first and the last; with retries.
    assert counted["many"] <= 3 * (4 + 4)


def test_every_record_comes_for_a_user_with_the_role_for_get_one_only(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(450, user=User(roles=frozenset({READ})), get_many_role="List")

    run = bench.read()

    assert run.ids == list(bench.ledger)
    assert bench.world.count()["many"] <= 2 * (3 + 2)
    assert bench.world.tokens.grants <= 1 + 4


@pytest.mark.parametrize("position", [0, 57, 199, 399])
def test_one_poisonous_id_costs_few_calls_and_no_record(
    make_bench: Callable[..., Bench], position: int
) -> None:
    bench = make_bench(400)
    bench.read()
    without = bench.count_calls()
    poisonous = list(bench.ledger)[position]
    bench.world.faults.append(Fault(status=500, endpoints=("many",), ids=(poisonous,), times=None))

    run = bench.read()

    assert run.ids == list(bench.ledger)
    assert bench.count_calls() - without < 40


class CappedClient(NexudusClient):
    """A tenant whose get many silently keeps back what is beyond a number."""

    cap = 25

    def get_many(self, record_ids: Collection[int], form: GetManyForm) -> dict[int, Record]:
        found = super().get_many(record_ids, form)
        return dict(list(found.items())[: self.cap])


@pytest.mark.parametrize("cap", quick_first(1, [25, 1, 0]))
def test_an_answer_that_is_silently_capped_loses_nothing(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, cap: int
) -> None:
    monkeypatch.setattr(connection, "NexudusClient", CappedClient)
    monkeypatch.setattr(CappedClient, "cap", cap)
    bench = make_bench(450)
    gone = list(bench.ledger)[::50]
    ids = list(bench.ledger)
    for record_id in gone:
        bench.ledger.delete(record_id)

    assert sorted(bench.read(record_ids=ids).ids) == list(bench.ledger)


def test_a_size_that_works_is_remembered(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(4_000)
    bench.world.faults.append(Fault(status=414, endpoints=("many",), min_ids=101, times=None))

    run = bench.read(max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)
    # The token, one refusal of 200, one probe, then 40 batches of 100.
    assert bench.count_calls() == 1 + 1 + 1 + 40


def test_a_long_url_is_avoided(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(0)
    for number in range(1_000):
        bench.ledger.insert(9_000_000_000_000_000_000 + number)

    run = bench.read()

    assert run.ids == list(bench.ledger)
    assert {call.status for call in bench.world.calls} == {200}


def test_an_encoded_bracket_is_never_sent(bench: Bench) -> None:
    assert bench.world.refuse_encoded_brackets
    bench.read()

    assert bench.world.count()["many"] == 1


def test_an_outage_does_not_make_batches_small_for_good(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(4_000)
    bench.world.faults.append(Fault(status=502, skip=3, times=8))

    run = bench.read(max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)
    assert bench.count_calls() < 20 + 1 + 30
