"""Of several versions of a record, the views of the recipe show the latest.

Where the target updates, and where it appends; BigQuery's and Snowflake's can do either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from conftest import SEED, Bench

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER, Entity
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.records import Table
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
    """Two runs, and what the views answered after each."""

    appends: bool
    changing: dict[Entity, int]
    by_search: Run
    by_id: Run
    counts: dict[Entity, int]
    answers: list[tuple[Answers, Answers]]


@pytest.fixture(scope="module", params=VARIANTS)
def loads(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loads]:
    """Records change while they are searched; later some are corrected, and some deleted."""
    folder = tmp_path_factory.mktemp(request.param)
    engine = request.param.partition("-")[0]
    ledger, allowances = tenant_tables(30, 40, SEED)
    tables: dict[Entity, Table] = {LEDGER: ledger, ALLOWANCES: allowances}
    changing = {entity: next(iter(tables[entity].updated_between("", "~"))) for entity in tables}
    ids = list(ledger)
    used = [use["CoworkerExtraServiceId"] for use in map(ledger.get, ids[7:]) if use is not None]
    named = [allowance_id for allowance_id in allowances if allowance_id in used]
    # Stamped now, so that the state of the search remembers them and their deletion is noticed.
    gone: dict[Entity, int] = {LEDGER: ids[5], ALLOWANCES: named[0]}
    for entity, record_id in gone.items():
        tables[entity].change(record_id)
    answers = []
    searches: Counter[Entity] = Counter()

    def change(table: Table) -> None:
        entity = LEDGER if table is ledger else ALLOWANCES
        searches[entity] += 1
        if searches[entity] in {2, 3}:
            table.change(changing[entity])

    world = World(ledger, {ALLOWANCES: allowances})
    with Sandbox(world) as sandbox, VARIANTS[request.param](folder) as warehouse:
        bench = Bench(sandbox)
        pipeline = Pipeline(bench, warehouse, folder, ENTITIES)

        def look() -> None:
            answers.append((ask(engine, warehouse), expect(bench, tables, warehouse)))

        world.turmoil = Turmoil([change] * 30)
        by_search = pipeline.run(record_ids=None, page_size=10)
        look()

        world.turmoil = None
        stamp = "2023-12-31T23:59:59.5Z"
        ledger.change(changing[LEDGER], CreditUsed=1_000, UpdatedOn=stamp)
        ledger.change(ids[6], BookingResourceName=None)
        ledger.insert(CoworkerExtraServiceId=named[1])
        allowances.change(named[2], RemainingUses=1_000, UpdatedOn=stamp)
        for entity, record_id in gone.items():
            tables[entity].delete(record_id)
        by_id = pipeline.run(record_ids=sorted({*ids, *ledger}), on_missing_record="tombstone")
        look()
        appends = warehouse.appends or request.param in APPENDING
        counts = {entity: warehouse.of(entity).count() for entity in ENTITIES}
        yield Loads(appends, changing, by_search, by_id, counts, answers)


both = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.stream)


@both
def test_a_record_came_several_times_in_one_run(loads: Loads, entity: Entity) -> None:
    assert loads.by_search.ids_of(entity).count(loads.changing[entity]) > 1


def test_the_views_have_the_latest_of_a_run(loads: Loads) -> None:
    actual, expected = loads.answers[0]

    actual.assert_equal(expected)


def test_the_views_have_corrections_stamped_earlier_and_no_deleted_record(loads: Loads) -> None:
    actual, expected = loads.answers[1]

    assert [len(actual.views[entity]) for entity in ENTITIES] == [30, 39]
    actual.assert_equal(expected)


@both
def test_a_table_has_a_row_for_each_id_or_where_appended_for_each_version(
    loads: Loads, entity: Entity
) -> None:
    written = [*loads.by_search.ids_of(entity), *loads.by_id.ids_of(entity)]

    assert loads.counts[entity] == len(written if loads.appends else set(written))
