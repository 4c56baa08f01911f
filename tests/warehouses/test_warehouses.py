"""What lands in the warehouses is what is in the ledger, row by row.

Each engine is loaded six times, each load continuing from the state that its target emitted last.
A fixture stands for a load and keeps what the table held after it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import SEED, Bench
from outcomes import STREAM

from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.records import Ledger
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World
from warehouses.answers import Answers, ask, expect
from warehouses.engines import ENGINES
from warehouses.pipeline import Pipeline, Run
from warehouses.recipes import COLUMNS
from warehouses.warehouse import Row, Warehouse, in_lower_case

pytestmark = pytest.mark.warehouse

DELETED_AT = "_sdc_deleted_at"

NOTHING_BUT_NULLS, TEXTS, NUMBERS, LONG = 2**63 - 1, 2**31, 2**33, 2**53 + 1
"""Ids of records that are hard to load, and hard themselves: none fits into 32 bits."""

DIFFICULT: dict[int, Row] = {
    TEXTS: {
        "BookingResourceName": "“Ünï” 会議室 غرفة עברית Переговорная ไทย 🎙 e\u0301 \u200b\ufeff",
        "ToStringText": (
            'it\'s "quoted" \'\'twice"" \\ back\\\\slash \\n \\N\nnew\r\nline\rs\ttab \x1f\x7f'
            " ; , | ` $1 ${x} :x ? %s {} -- /* NULL"
        ),
        "SystemId": "",
        "UpdatedBy": " ",
        "LocalizationDetails": ["{}", "\\", '"', None],
        "CustomFields": {'a"b\\': ["\n", "é", None, 1.5, True, {"x": "'"}], "": {}},
    },
    NUMBERS: {
        "CreditUsed": -(2**53),
        "BookingId": 2**63 - 1,
        "CoworkerExtraServiceId": 0,
        "BookingFromTime": "0001-01-01T00:00:00Z",
        "BookingToTime": "9999-12-31T23:59:59.9999999Z",
        "IsNew": False,
    },
    # target-duckdb refuses a line of more than 2 MB; 1 MiB leaves room for the other columns.
    LONG: {"ToStringText": '“é\\"\n,'.ljust(1024, "x") * 1024, "CreditUsed": 2**40},
}

NEW = 2**40
CHANGES = 10


@dataclass(frozen=True)
class Loaded:
    """What a table held after a load, and what it should have held."""

    run: Run
    rows: list[Row]
    count: int
    expected: dict[int, Row]

    def assert_rows_of(self, record_ids: Iterable[int]) -> None:
        """Compare these rows, column by column."""
        rows = {row["id"]: row for row in self.rows}
        for record_id in record_ids:
            expected = self.expected[record_id]
            landed = rows.get(record_id, {})
            for name, value in expected.items():
                same = name in landed and landed[name] == value
                assert same, (record_id, name, shortened(landed.get(name)), shortened(value))

    def assert_table(self) -> None:
        """Compare the whole table."""
        assert sorted(row["id"] for row in self.rows) == sorted(self.expected)
        self.assert_rows_of(self.expected)


def shortened(value: Any) -> str:
    return repr(value)[:200]


@dataclass
class Engine:
    """An engine, what it is loaded from, and what its table should hold."""

    name: str
    bench: Bench
    warehouse: Warehouse
    pipeline: Pipeline
    ids: list[int]
    expected: dict[int, Row]

    def load(self, **settings: Any) -> Run:
        """Run the pipeline once."""
        by_id = {"record_ids": self.ids, "on_missing_record": "tombstone"}
        return self.pipeline.run(**{**by_id, **settings})

    def expect_ledger(self, record_ids: Iterable[int]) -> None:
        """Expect these rows to be as the ledger is now."""
        for record_id in record_ids:
            self.expected[record_id] = self.bench.expected(record_id)

    def look(self, run: Run) -> Loaded:
        """Take down what the table holds."""
        expected = {
            record_id: in_lower_case(self.warehouse.changed_by_target(row))
            for record_id, row in self.expected.items()
        }
        rows = [in_lower_case(row) for row in self.warehouse.rows()]
        return Loaded(run, rows, self.warehouse.count(), expected)

    def ask(self) -> tuple[Answers, Answers]:
        """What the recipe answers, and what it should if the whole ledger is loaded."""
        expected = expect(self.bench, self.bench.ledger, self.warehouse)
        return ask(self.name, self.warehouse), expected


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A sandbox with difficult content, and an empty warehouse."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        ledger = Ledger(60, SEED)
        for record_id, fields in DIFFICULT.items():
            ledger.insert(record_id, **fields)
        nulls = dict.fromkeys(ledger.get(TEXTS) or {}) | {"Id": NOTHING_BUT_NULLS}
        ledger.insert(NOTHING_BUT_NULLS, **nulls)
        bench = Bench(stack.enter_context(Sandbox(World(ledger))))
        warehouse = stack.enter_context(ENGINES[request.param](folder))
        pipeline = Pipeline(bench, warehouse, folder)
        yield Engine(request.param, bench, warehouse, pipeline, list(ledger), {})


@pytest.fixture(scope="module")
def first_load(engine: Engine) -> Loaded:
    """The whole ledger."""
    run = engine.load()
    engine.expect_ledger(engine.ids)
    return engine.look(run)


@dataclass(frozen=True)
class Changes:
    """What happened in Nexudus before a load, and what that made of the table."""

    changed: list[int]
    deleted: list[int]
    loaded: Loaded
    answers: Answers
    expected_answers: Answers


@pytest.fixture(scope="module")
def second_load(engine: Engine, first_load: Loaded) -> Changes:  # noqa: ARG001 - comes before
    """Ten records changed, two deleted, one new."""
    ledger = engine.bench.ledger
    changed = [TEXTS, *engine.ids[5 : 4 + CHANGES]]
    for record_id in changed:
        ledger.change(record_id, CreditUsed=999, BookingResourceName=None, ToStringText="Changed")
    # A correction may be stamped earlier than what it corrects.
    ledger.change(changed[-1], CreditUsed=1_000, UpdatedOn="2023-12-31T23:59:59.5Z")
    deleted = [engine.ids[20], LONG]
    for record_id in deleted:
        ledger.delete(record_id)
    ledger.insert(NEW, BookingResourceName="新しい")
    engine.ids.append(NEW)

    run = engine.load()

    engine.expect_ledger([*changed, NEW])
    for record in run.records:
        if record["Id"] in deleted:
            blank = dict.fromkeys(engine.expected[record["Id"]])
            engine.expected[record["Id"]] = {
                **blank,
                "Id": record["Id"],
                DELETED_AT: record[DELETED_AT],
            }
    return Changes(changed, deleted, engine.look(run), *engine.ask())


@pytest.fixture(scope="module")
def interrupted_load(engine: Engine, second_load: Changes) -> Loaded:  # noqa: ARG001 - comes before
    """Every second record changed, and the tap terminated while it waits for its third batch."""
    changed = list(engine.bench.ledger)[::2]
    for record_id in changed:
        engine.bench.ledger.change(record_id, CreditUsed=3)
    faults = engine.bench.world.faults
    faults.append(Fault(kind="hang", endpoints=["many"], skip=2, times=None))
    reached = [record_id for record_id in engine.ids[:20] if record_id in changed]

    run = engine.load(terminate_after=len(reached), batch_size=10, max_concurrent_requests=1)

    faults.clear()
    engine.expect_ledger(reached)
    return engine.look(run)


@pytest.fixture(scope="module")
def resumed_load(engine: Engine, interrupted_load: Loaded) -> Loaded:  # noqa: ARG001 - comes before
    """The run after the interrupted one."""
    run = engine.load()
    engine.expect_ledger(engine.bench.ledger)
    return engine.look(run)


@pytest.fixture(scope="module")
def full_table_load(engine: Engine, resumed_load: Loaded) -> Changes:  # noqa: ARG001 - comes before
    """Everything again, by search; then once more, with three records fewer."""
    full = {"method": "FULL_TABLE", "record_ids": None, "emit_activate_version_messages": True}
    ledger = engine.bench.ledger
    # One without `UpdatedOn`, which a search can't find, would leave the table incomplete.
    ledger.change(NOTHING_BUT_NULLS)
    # target-snowflake takes only those rows for gone that a full table has brought.
    engine.load(**full)
    # Versions are whole seconds.
    time.sleep(1.0)
    deleted = list(ledger)[10:13]
    for record_id in deleted:
        ledger.delete(record_id)

    run = engine.load(**full)

    engine.expect_ledger(ledger)
    return Changes(list(ledger), deleted, engine.look(run), *engine.ask())


def test_a_first_load_equals_the_ledger(engine: Engine, first_load: Loaded) -> None:
    assert len(first_load.rows) == first_load.count == 64
    first_load.assert_table()
    assert sorted(first_load.run.ids) == sorted(engine.expected.keys() - {NEW})


def test_difficult_content_arrives_as_it_is(first_load: Loaded) -> None:
    first_load.assert_rows_of([TEXTS, NUMBERS, LONG])

    (long_text,) = (row["tostringtext"] for row in first_load.rows if row["id"] == LONG)
    assert len(long_text) == 2**20


def test_a_record_of_nulls_arrives_as_nulls(first_load: Loaded) -> None:
    (row,) = (row for row in first_load.rows if row["id"] == NOTHING_BUT_NULLS)

    names = {name.lower() for name in COLUMNS} - {"id"}
    assert {row[name] for name in names} == {None}


# Those who infer types from values have seen some for every column by then.
@pytest.mark.usefixtures("second_load")
def test_columns_have_the_types_documented(engine: Engine) -> None:
    expected = {engine.warehouse.named(name): types[engine.name] for name, types in COLUMNS.items()}

    types = engine.warehouse.column_types()

    assert {name: types.get(name) for name in expected} == expected
    targets_own = types.keys() - expected.keys()
    assert {name for name in targets_own if not name.lower().startswith("_sdc_")} == set()


def test_only_what_changed_is_loaded_again(second_load: Changes) -> None:
    expected = [*second_load.changed, *second_load.deleted, NEW]

    assert sorted(second_load.loaded.run.ids) == sorted(expected)


def test_changed_records_are_updated(second_load: Changes) -> None:
    assert len(second_load.changed) == CHANGES
    second_load.loaded.assert_rows_of(second_load.changed)
    rows = [row for row in second_load.loaded.rows if row["id"] in second_load.changed]
    assert sorted(row["creditused"] for row in rows) == [999] * (CHANGES - 1) + [1_000]


def test_a_deleted_record_says_when_and_nothing_else(second_load: Changes) -> None:
    rows = [row for row in second_load.loaded.rows if row["id"] in second_load.deleted]

    assert len(rows) == len(second_load.deleted) == 2
    for row in rows:
        deleted_at = datetime.fromisoformat(row[DELETED_AT].replace("Z", "+00:00"))
        age = datetime.now(timezone.utc) - deleted_at
        assert timedelta() < age < timedelta(hours=1)
        assert row["creditused"] is row["updatedon"] is row["tostringtext"] is None
    others = [row for row in second_load.loaded.rows if row["id"] not in second_load.deleted]
    assert {row[DELETED_AT] for row in others} == {None}


def test_a_new_id_gets_a_row(second_load: Changes) -> None:
    second_load.loaded.assert_rows_of([NEW])


def test_the_other_rows_stay_as_they_were(second_load: Changes) -> None:
    second_load.loaded.assert_table()


def test_the_recipe_answers_what_the_ledger_says(second_load: Changes) -> None:
    second_load.answers.assert_equal(second_load.expected_answers)


def test_an_id_has_one_row_or_where_appended_one_for_each_record(
    engine: Engine,
    first_load: Loaded,
    second_load: Changes,
    interrupted_load: Loaded,
    resumed_load: Loaded,
) -> None:
    loads = [first_load, second_load.loaded, interrupted_load, resumed_load]
    written = sum(len(load.run.records) for load in loads)

    assert written > 64 + 1
    assert resumed_load.count == (written if engine.warehouse.appends else 64 + 1)


def test_an_interrupted_run_leaves_what_it_wrote(interrupted_load: Loaded) -> None:
    run = interrupted_load.run

    assert run.tap_code != 0
    assert 0 < len(run.records) < 20
    interrupted_load.assert_table()


def test_the_state_of_an_interrupted_run_covers_what_it_wrote(interrupted_load: Loaded) -> None:
    run = interrupted_load.run

    assert run.state is not None
    emitted = run.state["bookmarks"][STREAM]["emitted"]
    stamps = {str(record["Id"]): record["UpdatedOn"] for record in run.records}
    assert {record_id: emitted[record_id] for record_id in stamps} == stamps


def test_a_resumed_run_loads_the_rest_and_only_that(
    engine: Engine, interrupted_load: Loaded, resumed_load: Loaded
) -> None:
    resumed_load.assert_table()
    before, after = interrupted_load.run.ids, resumed_load.run.ids
    assert sorted(before + after) == sorted(list(engine.bench.ledger)[::2])


def test_a_full_table_updates_every_row(full_table_load: Changes) -> None:
    loaded = full_table_load.loaded

    assert sorted(loaded.run.ids) == sorted(full_table_load.changed)
    loaded.assert_rows_of(full_table_load.changed)


def test_a_full_table_marks_what_is_gone_where_the_target_can(
    engine: Engine, second_load: Changes, full_table_load: Changes
) -> None:
    marked = {row["id"] for row in full_table_load.loaded.rows if row[DELETED_AT] is not None}

    gone = full_table_load.deleted if engine.warehouse.activates_versions else []
    assert marked == {*second_load.deleted, *gone}


def test_the_recipe_leaves_out_what_a_full_table_marked(
    engine: Engine, full_table_load: Changes
) -> None:
    if not engine.warehouse.activates_versions:
        pytest.skip("this target marks nothing")

    full_table_load.answers.assert_equal(full_table_load.expected_answers)
