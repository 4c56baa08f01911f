"""The last page of a search comes from the other end, and counts the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Bench
from starlette.requests import Request
from starlette.responses import Response

from tap_nexudus_usage.sandbox.api import EntityApi
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tenant import offset
from tap_nexudus_usage.sandbox.turmoil import Turmoil

RECORDS, PAGE = 300, 100
LOGIN, LAST, COUNT = 1, 1, 1
ASCENDING = 3
"""Pages that overlap by a record each, so that the last but one leaves two."""


@pytest.fixture
def make_search(make_bench: Callable[..., Bench]) -> Callable[..., Bench]:
    def make(**options: Any) -> Bench:
        bench = make_bench(RECORDS, **options)
        bench.config |= {"record_ids": None, "page_size": PAGE}
        return bench

    return make


@pytest.mark.parametrize("dir_reading", ["new", "old", "words"])
def test_it_saves_the_call_that_counts(make_search: Callable[..., Bench], dir_reading: str) -> None:
    bench = make_search(dir_reading=dir_reading)

    run = bench.read()

    assert sorted(run.ids) == sorted(bench.ledger)
    tried = ["new", "old", "words"].index(dir_reading)
    assert bench.count_calls() == LOGIN + ASCENDING + LAST + tried


def test_it_comes_in_the_order_of_all_others(make_search: Callable[..., Bench]) -> None:
    stamps = [record["UpdatedOn"] for record in make_search().read().records]

    assert stamps == sorted(stamps)


@pytest.mark.parametrize("hours", [-8, 5.75])
def test_the_clock_of_the_bounds_does_not_matter_to_it(
    make_search: Callable[..., Bench], hours: float
) -> None:
    bench = make_search(clock=offset(hours))

    assert sorted(bench.read().ids) == sorted(bench.ledger)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400},
        {"kind": "omit", "uncounted": True},
        {"kind": "omit"},
        {"status": 200, "body": '{"Records": [], "TotalItems": 0, "HasNextPage": false}'},
    ],
    ids=str,
)
def test_where_it_does_not_fit_the_search_goes_on_without(
    make_search: Callable[..., Bench], fault: dict[str, Any]
) -> None:
    bench = make_search()
    bench.world.faults.append(Fault(endpoints=("search",), skip=ASCENDING, **fault))

    run = bench.read()

    assert sorted(run.ids) == sorted(bench.ledger)
    assert bench.count_calls() >= LOGIN + ASCENDING + LAST


def test_what_comes_meanwhile_is_read_all_the_same(make_search: Callable[..., Bench]) -> None:
    bench = make_search()

    def add_many(table: Any) -> None:
        for _ in range(PAGE + 1):
            table.insert()

    bench.world.turmoil = Turmoil(ordered=[*[lambda _: None] * ASCENDING, add_many])

    assert sorted(bench.read().ids) == sorted(bench.ledger)


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_where_descending_is_refused_or_fails_for_ever_the_search_goes_on_without(
    make_search: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    search = EntityApi.search

    async def fail_descending(api: EntityApi, request: Request) -> Response:
        if request.query_params["dir"] == "1":
            return Response(status_code=status)
        return await search(api, request)

    monkeypatch.setattr(EntityApi, "search", fail_descending)
    bench = make_search()

    run = bench.read()

    assert sorted(run.ids) == sorted(bench.ledger)


@pytest.mark.crossing
@pytest.mark.parametrize("skip", range(6))
@pytest.mark.parametrize("page_size", [1, 30])
def test_a_refusal_in_passing_proves_no_direction(
    make_bench: Callable[..., Bench], skip: int, page_size: int
) -> None:
    """Else the newest would count as the oldest, and what comes before it as emitted."""
    bench = make_bench(40, dir_reading="words")
    way = {"record_ids": None, "page_size": page_size}
    bench.world.faults.append(Fault(status=400, endpoints=("search",), skip=skip, times=2))

    first = bench.run(**way)
    bench.world.faults.clear()
    state = first.state if first.states else {}
    second = bench.read(state=state, **way)

    assert {*first.ids, *second.ids} == {*bench.ledger}
