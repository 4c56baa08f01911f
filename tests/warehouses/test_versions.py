"""Of several versions of a record, the view of the recipe shows the latest.

Where the target updates, and where it appends; BigQuery's and Snowflake's can do either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from conftest import SEED, Bench

from tap_nexudus_usage.sandbox.records import Ledger
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.turmoil import Turmoil
from tap_nexudus_usage.sandbox.world import World
from warehouses import engines
from warehouses.answers import Answers, ask, expect
from warehouses.engines import ENGINES
from warehouses.pipeline import Pipeline, Run
from warehouses.warehouse import Warehouse

pytestmark = pytest.mark.warehouse

APPENDING: dict[str, Callable[[Path], AbstractContextManager[Warehouse]]] = {
    "bigquery-appending": partial(engines.bigquery, upsert=False, dedupe_before_upsert=None),
    "snowflake-appending": partial(engines.snowflake, load_method="append-only"),
}
VARIANTS = {**ENGINES, **APPENDING}


@dataclass(frozen=True)
class Loads:
    """Two runs, and what the view answered after each."""

    appends: bool
    changing: int
    by_search: Run
    by_id: Run
    count: int
    answers: list[tuple[Answers, Answers]]


@pytest.fixture(scope="module", params=VARIANTS)
def loads(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loads]:
    """A record changes while it is searched; later it is corrected, and another one deleted."""
    folder = tmp_path_factory.mktemp(request.param)
    engine = request.param.partition("-")[0]
    ledger = Ledger(30, SEED)
    ids = list(ledger)
    changing = next(iter(ledger.updated_between("", "~")))
    # Stamped now, so that the state of the search remembers it and its deletion is noticed.
    gone = ids[5]
    ledger.change(gone)
    answers = []
    world = World(ledger)
    with Sandbox(world) as sandbox, VARIANTS[request.param](folder) as warehouse:
        bench = Bench(sandbox)
        pipeline = Pipeline(bench, warehouse, folder)

        def look() -> None:
            answers.append((ask(engine, warehouse), expect(bench, ledger, warehouse)))

        world.turmoil = Turmoil([len, *[partial(Ledger.change, record_id=changing)] * 2])
        by_search = pipeline.run(record_ids=None, page_size=10)
        look()

        ledger.change(changing, CreditUsed=1_000, UpdatedOn="2023-12-31T23:59:59.5Z")
        ledger.change(ids[6], BookingResourceName=None)
        ledger.delete(gone)
        by_id = pipeline.run(record_ids=ids, on_missing_record="tombstone")
        look()
        appends = warehouse.appends or request.param in APPENDING
        yield Loads(appends, changing, by_search, by_id, warehouse.count(), answers)


def test_a_record_came_several_times_in_one_run(loads: Loads) -> None:
    assert loads.by_search.ids.count(loads.changing) > 1


def test_the_view_has_the_latest_of_a_run(loads: Loads) -> None:
    actual, expected = loads.answers[0]

    actual.assert_equal(expected)


def test_the_view_has_corrections_stamped_earlier_and_no_deleted_record(loads: Loads) -> None:
    actual, expected = loads.answers[1]

    assert len(actual.view) == 29
    actual.assert_equal(expected)


def test_the_table_has_a_row_for_each_id_or_where_appended_for_each_version(loads: Loads) -> None:
    written = len(loads.by_search.ids) + len(loads.by_id.ids)

    assert loads.count == (written if loads.appends else 30)
