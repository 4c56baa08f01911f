"""Ids that nothing reads cost no other record; where that is all of them, the run ends soon."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Bench

from tap_nexudus_usage.errors import AccessError, TapError, UnansweredError
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import User


@pytest.mark.crossing
@pytest.mark.parametrize("status", [204, 400, 401, 403, 422, 423, 500])
@pytest.mark.parametrize("position", [0, 4, 9])
@pytest.mark.parametrize("batch_size", [1, 200])
def test_an_id_that_is_refused_costs_no_other_record(
    make_bench: Callable[..., Bench], batch_size: int, position: int, status: int
) -> None:
    bench = make_bench(10)
    refused = list(bench.ledger)[position]
    bench.world.faults.append(
        Fault(status=status, endpoints=("one", "many"), ids=(refused,), times=None)
    )

    run = bench.run(batch_size=batch_size, max_retries=2)

    assert sorted(run.ids) == [i for i in bench.ledger if i != refused]
    assert isinstance(run.error, UnansweredError)
    assert f"1 CoworkerExtraServiceUseHistory Ids: {refused}." in str(run.error)
    assert str(refused) not in run.bookmark["emitted"]


@pytest.mark.parametrize("status", [401, 422, 500])
def test_many_refused_ids_side_by_side_cost_no_other_record(
    make_bench: Callable[..., Bench], status: int
) -> None:
    bench = make_bench(30)
    refused = list(bench.ledger)[:12]
    bench.world.faults.append(Fault(status=status, endpoints=("one",), ids=refused, times=None))

    run = bench.run(batch_size=1, max_retries=1, max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)[12:]
    assert isinstance(run.error, UnansweredError)


@pytest.mark.parametrize(("status", "error"), [(403, AccessError), (500, UnansweredError)])
def test_where_no_id_can_be_read_the_run_ends_after_few_calls(
    make_bench: Callable[..., Bench], status: int, error: type[TapError]
) -> None:
    bench = make_bench(400)
    bench.world.faults.append(Fault(status=status, endpoints=("one",), times=None))

    run = bench.run(batch_size=1, max_retries=2)

    assert isinstance(run.error, error)
    assert len(bench.world.calls) < 40


def test_a_user_without_any_role_is_told_so_after_few_calls(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(450, user=User(roles=frozenset()))

    run = bench.run()

    assert isinstance(run.error, AccessError)
    assert "CoworkerExtraServiceUseHistory-Read" in str(run.error)
    assert "CoworkerExtraServiceUseHistory-List" in str(run.error)
    assert "token" in str(run.error)
    assert bench.count_calls() <= 30
