"""What Airbyte's destinations make of several syncs by `append_dedup` is the ledger as it is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import duckdb
import pytest
from conftest import SEED, Bench
from outcomes import STREAM
from wide import quick_first

from airbyte.conversation import CURSOR, DELETED, Said, Source
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER, Entity
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.records import FIRST_DAY, Table, dotnet
from tap_nexudus_usage.sandbox.turmoil import Turmoil

BOTH = tuple(entity.stream for entity in ENTITIES)

HARD, SOFT = "Hard delete", "Soft delete"
"""What destinations do with tombstones, as their setting `cdc_deletion_mode` has it."""

# Of each Id the latest row of a sync, and those among them that are later than the table's.
NEWCOMERS = """
WITH latest AS (
    SELECT * FROM (
        SELECT *, row_number() OVER (
            PARTITION BY id ORDER BY cursor DESC NULLS LAST, extracted_at DESC
        ) AS number FROM batch
    ) WHERE number = 1
)
SELECT d.* EXCLUDE number FROM latest AS d LEFT JOIN target AS t USING (id)
WHERE t.id IS NULL
    OR t.cursor < d.cursor
    OR (t.cursor = d.cursor AND t.extracted_at < d.extracted_at)
    OR (t.cursor IS NULL AND d.cursor IS NOT NULL)
    OR (t.cursor IS NULL AND d.cursor IS NULL AND t.extracted_at < d.extracted_at)
"""

FAILS, FORGOTTEN = 3, 5
"""Which of the syncs fails, and of which the state is lost, so that the next repeats it."""


class Destination:
    """A table as destinations keep it."""

    def __init__(self, mode: str = HARD, cursor: str = CURSOR) -> None:
        """`cursor` is the column by which they tell the later of two rows."""
        self._mode = mode
        self._cursor = cursor
        self._db = duckdb.connect()
        # Our date-times can be compared as texts.
        kind = "BIGINT" if cursor == CURSOR else "VARCHAR"
        for name in ("target", "batch"):
            self._db.execute(
                f"CREATE TABLE {name} (id BIGINT, cursor {kind}, extracted_at BIGINT, "
                "deleted_at VARCHAR, data VARCHAR)"
            )

    def take(self, said: Said, stream: str) -> None:
        """Load what a sync brought."""
        self._db.execute("DELETE FROM batch")
        for message in said.of("RECORD"):
            record = message["record"]
            if record["stream"] == stream:
                data = record["data"]
                row = [data["Id"], data[self._cursor], record["emitted_at"], data[DELETED]]
                content = json.dumps(data, default=float)
                self._db.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?)", [*row, content])
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE newcomers AS {NEWCOMERS}")
        self._db.execute("DELETE FROM target WHERE id IN (SELECT id FROM newcomers)")
        self._db.execute(
            "INSERT INTO target SELECT * FROM newcomers WHERE deleted_at IS NULL OR ?",
            [self._mode == SOFT],
        )

    def rows(self) -> dict[int, dict[str, Any]]:
        """By Id, what the table holds."""
        found = self._db.execute("SELECT id, data FROM target").fetchall()
        rows = {record_id: json.loads(data) for record_id, data in found}
        assert len(rows) == len(found)
        return rows


def assert_rows(destination: Destination, bench: Bench, entity: Entity, ids: set[int]) -> None:
    """The rows that aren't marked as deleted are those of these Ids."""
    rows = destination.rows()
    assert {record_id for record_id, row in rows.items() if row[DELETED] is None} == ids
    assert_as_now(destination, bench, entity, ids)


def assert_as_now(
    destination: Destination, bench: Bench, entity: Entity, ids: Iterable[int]
) -> None:
    """The rows of these Ids are as the records are now."""
    rows = destination.rows()
    for record_id in ids:
        expected = json.loads(json.dumps(bench.expected(record_id, entity), default=float))
        expected[DELETED] = expected.pop("_sdc_deleted_at")
        assert {
            name: value for name, value in rows[record_id].items() if name != CURSOR
        } == expected


def happen(table: Table, chance: random.Random, gone: list[int]) -> None:
    """Change some records, correct others by what is stamped earlier, delete some, restore one."""
    ids = chance.sample(list(table), 12)
    for record_id in ids[:4]:
        table.change(record_id, **{table.quantity: chance.randint(0, 999)})
    for record_id in ids[4:8]:
        second = chance.randrange(10**7)
        earlier = dotnet(FIRST_DAY - timedelta(seconds=second))
        table.change(record_id, UpdatedOn=earlier, **{table.quantity: second})
    for record_id in ids[8:10]:
        # What had none can't be told from what it was.
        if (table.get(record_id) or {})["UpdatedOn"] is not None:
            table.change(record_id, UpdatedOn=None, **{table.quantity: 5})
    if gone:
        table.insert(gone.pop(0))
    for record_id in ids[10:]:
        table.delete(record_id)
        gone.append(record_id)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(60, allowances=90)


@pytest.mark.crossing
@pytest.mark.parametrize("mode", [HARD, SOFT])
@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.stream)
def test_several_syncs_by_id_leave_what_there_is(bench: Bench, entity: Entity, mode: str) -> None:
    chance = random.Random(SEED)  # noqa: S311 - data, no secret
    source, destination, table = Source(bench), Destination(mode), bench.world.table(entity)
    settings = {
        "record_ids": list(bench.ledger),
        "on_missing_record": "tombstone",
        "batch_size": 10,
        "max_retries": 1,
        "max_concurrent_requests": 1,
    }
    ledger = [bench.ledger.get(record_id) or {} for record_id in bench.ledger]
    asked_for = {LEDGER: "Id", ALLOWANCES: "CoworkerExtraServiceId"}[entity]
    wanted = {record[asked_for] for record in ledger} & {*table}
    tombstones, gone = 0, list[int]()
    state: Any = None
    for number in range(7):
        if number:
            happen(table, chance, gone)
        if number == FAILS:
            # The first two batches of the stream come.
            of_stream = {"streams": [entity.stream], "endpoints": ["many", "one"]}
            bench.world.faults.append(Fault(status=500, skip=2, times=None, **of_stream))
        said = source.read(*BOTH, state=state, **settings)
        bench.world.faults.clear()
        destination.take(said, entity.stream)
        tombstones += sum(row[DELETED] is not None for row in said.rows(entity.stream))
        if number != FORGOTTEN:
            state = said.state
        if number == FAILS:
            assert said.code == 1
        else:
            assert said.code == 0
            assert_rows(destination, bench, entity, wanted & {*table})

    assert tombstones > 3
    marked = {i for i, row in destination.rows().items() if row[DELETED] is not None}
    assert marked == (wanted - {*table} if mode == SOFT else set())


@pytest.mark.parametrize("seed", quick_first(2, range(SEED, SEED + 5)))
def test_syncs_by_search_amid_changes_leave_what_there_is(
    make_bench: Callable[..., Bench], seed: int
) -> None:
    bench = make_bench(80)
    source, destination = Source(bench), Destination()
    state: Any = None
    for number in range(4):
        bench.world.turmoil = Turmoil(probability=0.5, seed=seed + number) if number < 3 else None
        settings = {"record_ids": None, "page_size": 10, "lookback_hours": 0}
        said = source.read(state=state, **settings)
        destination.take(said, STREAM)
        state = said.state

    # What is gone can't be told from a search.
    assert_as_now(destination, bench, LEDGER, bench.ledger)


def test_by_updated_on_they_would_ignore_what_came_later(bench: Bench) -> None:
    settings = {"record_ids": list(bench.ledger), "on_missing_record": "tombstone"}
    corrected, lost, deleted, changed = list(bench.ledger)[:4]
    source, right, wrong = Source(bench), Destination(), Destination(cursor="UpdatedOn")
    first = source.read(**settings)
    bench.ledger.change(corrected, CreditUsed=991, UpdatedOn="2023-01-01T00:00:00Z")
    bench.ledger.change(lost, CreditUsed=992, UpdatedOn=None)
    bench.ledger.change(changed, CreditUsed=993)
    bench.ledger.delete(deleted)
    second = source.read(state=first.state, **settings)

    for destination in (right, wrong):
        for said in (first, second):
            destination.take(said, STREAM)

    assert_rows(right, bench, LEDGER, {*bench.ledger})
    rows = wrong.rows()
    assert rows[corrected]["CreditUsed"] != 991
    assert rows[lost]["CreditUsed"] != 992
    assert rows[changed]["CreditUsed"] == 993
    assert deleted in rows
