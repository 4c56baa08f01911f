"""What lands in the warehouses is the ledger and its allowances, row by row.

Each engine is loaded up to six times, each load continuing from the state that its target emitted
last. A fixture stands for a load and keeps what the tables held after it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from conftest import SEED, Bench
from outcomes import STREAM

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER, Entity
from tap_nexudus_usage.sandbox.allowances import Allowances
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.literals import Number
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.records import Ledger, Table
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World
from warehouses.answers import UNITS, Answers, ask, expect, with_floats
from warehouses.engines import ENGINES
from warehouses.pipeline import Pipeline, Run
from warehouses.recipes import COLUMNS
from warehouses.warehouse import Row, Warehouse, in_lower_case

pytestmark = pytest.mark.warehouse

both = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.stream)

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

ALLOWANCE_TEXTS, PRICED = 2**31 + 5, 2**33 + 5
"""Ids of allowances that are hard to load; from the latter on there is one for each decimal."""

DECIMALS = (
    "12.10",
    "0.1",
    "1e3",
    "0.12345678901234567",
    "1e-9",
    "12",
    "-0.0",
    "-12.50",
    None,
    "123456789012345678.123",
    "1.7976931348623157E+308",
    "18446744073709551616",
)
DECIMAL_FIELDS = [
    name for name, schema in ALLOWANCES.schema()["properties"].items() if "number" in schema["type"]
]

FULL_ALLOWANCE: Row = {
    "CoworkerId": 2**63 - 1,
    "ExtraServiceName": DIFFICULT[TEXTS]["ToStringText"],
    "ExtraServiceCurrencyCode": "€",
    "ExtraServiceIsPrintingCredit": True,
    "Description": DIFFICULT[TEXTS]["BookingResourceName"],
    "Notes": DIFFICULT[TEXTS]["ToStringText"],
    # fakesnow adds up floating-point numbers.
    "RemainingUses": -(2**52),
    "TotalUses": 2**52 + 1,
    "ValidFrom": "0001-01-01T00:00:00Z",
    "ExpireDate": "9999-12-31T23:59:59.9999999Z",
    "DueDate": "2025-02-28T00:00:00",
    "PurchaseOrder": "",
    "InvoiceDate": "2025-01-31T12:00:00.5Z",
    "TariffTimePassUniqueId": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    "CoworkerProductUniqueId": "00000000-0000-0000-0000-000000000000",
    "BookingUniqueId": "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "DiscountCode": '50 % "off"',
    "CoworkerDiscountUniqueId": "a1b2c3d4-e5f6-7890-abcd-ef1234567891",
    "BookingId": 2**63 - 1,
    "BookingFromTime": "2025-01-15T10:30:00Z",
    "BookingToTime": "2025-01-15T11:30:00.1234567Z",
    "BookingResourceName": "会議室 さくら",
    "CoworkerContractUniqueId": "a1b2c3d4-e5f6-7890-abcd-ef1234567892",
    "SystemId": " ",
    "LocalizationDetails": DIFFICULT[TEXTS]["LocalizationDetails"],
    "CustomFields": DIFFICULT[TEXTS]["CustomFields"],
}


NO_BOOKING: Row = dict.fromkeys(
    ("BookingId", "BookingFromTime", "BookingToTime", "BookingResourceName")
)


def decimal_fields(position: int) -> Row:
    """A value for each, all of them different."""
    found: Row = {}
    for field, name in enumerate(DECIMAL_FIELDS):
        written = DECIMALS[(position + field) % len(DECIMALS)]
        found[name] = None if written is None else Number(written)
    return found


def difficult_tables() -> tuple[Ledger, Allowances]:
    """A ledger and its allowances, with records that are hard to load, or to add up."""
    ledger, allowances = tenant_tables(60, 100, SEED)
    for record_id, fields in DIFFICULT.items():
        ledger.insert(record_id, **fields)
    allowances.insert(ALLOWANCE_TEXTS, **FULL_ALLOWANCE, **decimal_fields(0))
    # One customer's credits of one name, in all units and two that don't exist.
    for position in range(len(DECIMALS)):
        allowances.insert(
            PRICED + position,
            CoworkerId=7,
            ExtraServiceName="Credits",
            ExtraServiceIsPrintingCredit=False,
            ChargePeriod=position % 8,
            RemainingUses=1_000,
            TotalUses=1_000,
            **NO_BOOKING,
            **decimal_fields(position),
        )
    blank = dict.fromkeys(FULL_ALLOWANCE | (allowances.get(ALLOWANCE_TEXTS) or {}))
    allowances.insert(NOTHING_BUT_NULLS, **blank | {"Id": NOTHING_BUT_NULLS})
    begin: Row = {"BookingFromTime": "2025-01-31T23:30:00Z"}
    for allowance_id in (ALLOWANCE_TEXTS, *range(PRICED, PRICED + len(DECIMALS))):
        # Twice in a month, and in another.
        for fields in (begin, begin, {"BookingFromTime": "2025-02-01T00:00:00Z"}):
            ledger.insert(CoworkerExtraServiceId=allowance_id, **fields)
    ledger.insert(CoworkerExtraServiceId=NOTHING_BUT_NULLS, CreditUsed=None)
    allowances.change(NOTHING_BUT_NULLS, UpdatedOn=None, IsNew=None)
    ledger.insert(CoworkerExtraServiceId=None, **begin)
    ledger.insert(CoworkerExtraServiceId=PRICED, CreatedOn="2024-12-31T23:59:59.9Z", **NO_BOOKING)
    nulls = dict.fromkeys(ledger.get(TEXTS) or {}) | {"Id": NOTHING_BUT_NULLS}
    ledger.insert(NOTHING_BUT_NULLS, **nulls)
    return ledger, allowances


@dataclass(frozen=True)
class Held:
    """What a table held after a load, and what it should have held."""

    rows: list[Row]
    count: int
    expected: dict[int, Row]

    def row(self, record_id: int) -> Row:
        """The row of an Id."""
        (row,) = (row for row in self.rows if row["id"] == record_id)
        return row

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


@dataclass(frozen=True)
class Loaded:
    """A load, and what the tables held after it."""

    run: Run
    tables: Mapping[Entity, Held]

    def assert_tables(self) -> None:
        """Compare all that there is."""
        for held in self.tables.values():
            held.assert_table()


def shortened(value: Any) -> str:
    return repr(value)[:200]


@dataclass
class Engine:
    """An engine, what it is loaded from, and what its tables should hold."""

    name: str
    bench: Bench
    warehouse: Warehouse
    pipeline: Pipeline
    ids: list[int]
    expected: dict[Entity, dict[int, Row]]

    def load(self, **settings: Any) -> Run:
        """Run the pipeline once."""
        by_id = {"record_ids": self.ids, "on_missing_record": "tombstone"}
        return self.pipeline.run(**{**by_id, **settings})

    def table(self, entity: Entity) -> Table:
        """The sandbox's records of an entity."""
        return self.bench.world.table(entity)

    def named(self) -> list[int]:
        """The allowances that the ledger's records name, and that there are."""
        uses = (self.bench.ledger.get(record_id) or {} for record_id in self.bench.ledger)
        named = {use["CoworkerExtraServiceId"] for use in uses}
        return [allowance_id for allowance_id in self.bench.allowances if allowance_id in named]

    def expect(self, entity: Entity, record_ids: Iterable[int]) -> None:
        """Expect these rows to be as the sandbox's records are now."""
        for record_id in record_ids:
            record = self.bench.expected(record_id, entity)
            self.expected[entity][record_id] = with_floats(record)

    def look(self, run: Run) -> Loaded:
        """Take down what the tables hold."""
        tables = {}
        for entity in ENTITIES:
            table = self.warehouse.of(entity)
            expected = {
                record_id: in_lower_case(table.changed_by_target(row))
                for record_id, row in self.expected[entity].items()
            }
            rows = [in_lower_case(row) for row in table.rows()]
            tables[entity] = Held(rows, table.count(), expected)
        return Loaded(run, tables)

    def ask(self) -> tuple[Answers, Answers]:
        """What the recipe answers, and what it should with all that was loaded and is there."""
        ids = {
            entity: [record_id for record_id in self.table(entity) if record_id in expected]
            for entity, expected in self.expected.items()
        }
        return ask(self.name, self.warehouse), expect(self.bench, ids, self.warehouse)


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A sandbox with difficult content, and an empty warehouse."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        ledger, allowances = difficult_tables()
        world = World(ledger, {ALLOWANCES: allowances})
        bench = Bench(stack.enter_context(Sandbox(world)))
        warehouse = stack.enter_context(ENGINES[request.param](folder))
        pipeline = Pipeline(bench, warehouse, folder, ENTITIES)
        expected: dict[Entity, dict[int, Row]] = {entity: {} for entity in ENTITIES}
        yield Engine(request.param, bench, warehouse, pipeline, list(ledger), expected)


@pytest.fixture(scope="module")
def first_load(engine: Engine) -> Loaded:
    """The whole ledger, and the allowances that it names."""
    run = engine.load()
    engine.expect(LEDGER, engine.ids)
    engine.expect(ALLOWANCES, engine.named())
    return engine.look(run)


@dataclass(frozen=True)
class Changes:
    """What happened in Nexudus before a load, and what that made of the tables."""

    changed: Mapping[Entity, list[int]]
    deleted: Mapping[Entity, list[int]]
    loaded: Loaded
    answers: Answers
    expected_answers: Answers


@pytest.fixture(scope="module")
def second_load(engine: Engine, first_load: Loaded) -> Changes:  # noqa: ARG001 - comes before
    """Of the ledger ten records changed, two deleted, one new; of its allowances as many."""
    ledger, allowances = engine.bench.ledger, engine.bench.allowances
    changed = [TEXTS, *engine.ids[5 : 4 + CHANGES]]
    for record_id in changed:
        ledger.change(record_id, CreditUsed=999, BookingResourceName=None, ToStringText="Changed")
    # A correction may be stamped earlier than what it corrects.
    ledger.change(changed[-1], CreditUsed=1_000, UpdatedOn="2023-12-31T23:59:59.5Z")
    deleted = [engine.ids[20], LONG]
    for record_id in deleted:
        ledger.delete(record_id)

    named = [allowance_id for allowance_id in engine.named() if allowance_id < ALLOWANCE_TEXTS]
    spent, *others = [ALLOWANCE_TEXTS, *named[: CHANGES - 1]]
    for allowance_id in others:
        allowances.change(allowance_id, RemainingUses=999, ExtraServiceName=None, Price=Number("7"))
    allowances.change(others[-1], RemainingUses=1_000, UpdatedOn="2023-12-31T23:59:59.5Z")
    gone = [named[CHANGES], PRICED]
    for allowance_id in gone:
        allowances.delete(allowance_id)
    ledger.insert(NEW, BookingResourceName="新しい", CoworkerExtraServiceId=spent, CreditUsed=5)
    engine.ids.append(NEW)

    run = engine.load()

    engine.expect(LEDGER, [*changed, NEW])
    engine.expect(ALLOWANCES, [spent, *others])
    of_each = {LEDGER: deleted, ALLOWANCES: gone}
    for entity, record_ids in of_each.items():
        for record in run.of(entity):
            if record["Id"] in record_ids:
                blank = dict.fromkeys(engine.expected[entity][record["Id"]])
                tombstone = {**blank, "Id": record["Id"], DELETED_AT: record[DELETED_AT]}
                engine.expected[entity][record["Id"]] = tombstone
    changes = {LEDGER: changed, ALLOWANCES: [spent, *others]}
    return Changes(changes, of_each, engine.look(run), *engine.ask())


@pytest.fixture(scope="module")
def changed_again(engine: Engine, second_load: Changes) -> dict[Entity, list[int]]:  # noqa: ARG001 - comes before
    """Every second record changed."""
    changed = {LEDGER: list(engine.bench.ledger)[::2], ALLOWANCES: engine.named()[::2]}
    for entity, record_ids in changed.items():
        table = engine.table(entity)
        for record_id in record_ids:
            table.change(record_id, **{table.quantity: 3})
    return changed


@pytest.fixture(scope="module")
def interrupted_load(engine: Engine, changed_again: dict[Entity, list[int]]) -> Loaded:
    """The tap terminated while it waits for its third batch."""
    faults = engine.bench.world.faults
    faults.append(Fault(kind="hang", endpoints=["many"], skip=2, times=None))
    reached = [record_id for record_id in engine.ids[:20] if record_id in changed_again[LEDGER]]

    run = engine.load(terminate_after=len(reached), batch_size=10, max_concurrent_requests=1)

    faults.clear()
    engine.expect(LEDGER, reached)
    return engine.look(run)


@pytest.fixture(scope="module")
def resumed_load(
    engine: Engine,
    changed_again: dict[Entity, list[int]],
    interrupted_load: Loaded,  # noqa: ARG001 - comes before
) -> Loaded:
    """The run after the interrupted one."""
    run = engine.load()
    for entity, record_ids in changed_again.items():
        engine.expect(entity, record_ids)
    return engine.look(run)


@pytest.fixture(scope="module")
def full_table_load(engine: Engine, resumed_load: Loaded) -> Changes:  # noqa: ARG001 - comes before
    """Everything by search, after three records of each have gone."""
    full = {"method": "FULL_TABLE", "record_ids": None, "emit_activate_version_messages": True}
    # One without `UpdatedOn`, which a search can't find, would leave the table incomplete.
    for entity in ENTITIES:
        engine.table(entity).change(NOTHING_BUT_NULLS)
    if engine.warehouse.activates_versions:
        # target-snowflake takes only those rows for gone that a full table has brought.
        engine.load(**full)
        # Versions are whole seconds.
        time.sleep(1.0)
    deleted = {entity: list(engine.table(entity))[10:13] for entity in ENTITIES}
    for entity, record_ids in deleted.items():
        for record_id in record_ids:
            engine.table(entity).delete(record_id)

    run = engine.load(**full)

    for entity in ENTITIES:
        engine.expect(entity, engine.table(entity))
    changed = {entity: list(engine.table(entity)) for entity in ENTITIES}
    return Changes(changed, deleted, engine.look(run), *engine.ask())


@both
def test_a_first_load_equals_what_there_is(
    engine: Engine, first_load: Loaded, entity: Entity
) -> None:
    held, expected = first_load.tables[entity], engine.expected[entity].keys() - {NEW}
    assert len(held.rows) == held.count == len(expected) > 20
    held.assert_table()
    assert sorted(first_load.run.ids_of(entity)) == sorted(expected)


def test_no_charge_is_read_by_what_the_ledger_names(engine: Engine, first_load: Loaded) -> None:
    charges = [
        allowance_id
        for allowance_id in engine.bench.allowances
        if (engine.bench.allowances.get(allowance_id) or {})["BookingId"] is not None
    ]

    assert len(charges) > 10
    assert set(charges) & set(first_load.run.ids_of(ALLOWANCES)) == {ALLOWANCE_TEXTS}


def test_difficult_content_arrives_as_it_is(first_load: Loaded) -> None:
    uses, allowances = (first_load.tables[entity] for entity in ENTITIES)
    uses.assert_rows_of([TEXTS, NUMBERS, LONG])
    allowances.assert_rows_of([ALLOWANCE_TEXTS, *range(PRICED, PRICED + len(DECIMALS))])

    assert len(uses.row(LONG)["tostringtext"]) == 2**20


def test_decimals_arrive_as_what_was_written(first_load: Loaded) -> None:
    held = first_load.tables[ALLOWANCES]
    prices = [held.row(PRICED + position)["price"] for position in range(len(DECIMALS))]

    assert prices == [None if written is None else float(written) for written in DECIMALS]


def as_numeric(number: Decimal) -> str:
    """How PostgreSQL writes it: it knows no exponent, and no zero below zero."""
    beyond_64_bits = number.as_tuple().exponent == 0 and abs(number) >= 2**63
    return f"{abs(number) if number == 0 else number:f}" + (".0" if beyond_64_bits else "")


# Of them nothing has changed yet.
@pytest.mark.usefixtures("first_load")
def test_postgresql_keeps_decimals_to_the_last_digit(engine: Engine) -> None:
    if engine.name != "postgres":
        pytest.skip("this engine has floating-point numbers")
    names = ", ".join(f'CAST("{name}" AS text) AS "{name}"' for name in DECIMAL_FIELDS)

    rows = engine.warehouse.query(
        f'SELECT "Id", {names} FROM nexudus.{ALLOWANCES.stream} WHERE "Id" >= {PRICED} '
        f'AND "Id" < {PRICED + len(DECIMALS)} ORDER BY 1'
    )

    for position, row in enumerate(rows):
        written = decimal_fields(position)
        assert row == {
            "Id": PRICED + position,
            **{
                name: None if value is None else as_numeric(value)
                for name, value in written.items()
            },
        }
    assert len(rows) == len(DECIMALS)


@both
def test_a_record_of_nulls_arrives_as_nulls(first_load: Loaded, entity: Entity) -> None:
    row = first_load.tables[entity].row(NOTHING_BUT_NULLS)

    names = {name.lower() for name in COLUMNS[entity]} - {"id"}
    assert {row[name] for name in names} == {None}


# Those who infer types from values have seen some for every column by then.
@pytest.mark.usefixtures("second_load")
@both
def test_columns_have_the_types_documented(engine: Engine, entity: Entity) -> None:
    named = engine.warehouse.named
    expected = {named(name): types[engine.name] for name, types in COLUMNS[entity].items()}

    types = engine.warehouse.of(entity).column_types()

    assert {name: types.get(name) for name in expected} == expected
    targets_own = types.keys() - expected.keys()
    assert {name for name in targets_own if not name.lower().startswith("_sdc_")} == set()


@both
def test_all_columns_are_documented(entity: Entity) -> None:
    assert list(COLUMNS[entity]) == list(entity.schema()["properties"])


@both
def test_only_what_changed_is_loaded_again(second_load: Changes, entity: Entity) -> None:
    expected = [*second_load.changed[entity], *second_load.deleted[entity]]
    if entity == LEDGER:
        expected.append(NEW)

    assert sorted(second_load.loaded.run.ids_of(entity)) == sorted(expected)


@both
def test_changed_records_are_updated(second_load: Changes, entity: Entity) -> None:
    changed, held = second_load.changed[entity], second_load.loaded.tables[entity]
    quantity = {LEDGER: "creditused", ALLOWANCES: "remaininguses"}[entity]

    assert len(changed) == CHANGES
    held.assert_rows_of(changed)
    quantities = sorted(held.row(record_id)[quantity] for record_id in changed)
    assert quantities[-CHANGES + 1 :] == [999] * (CHANGES - 2) + [1_000]


def test_what_is_used_is_no_longer_left(first_load: Loaded, second_load: Changes) -> None:
    before, after = (
        loaded.tables[ALLOWANCES].row(ALLOWANCE_TEXTS)["remaininguses"]
        for loaded in (first_load, second_load.loaded)
    )

    assert second_load.loaded.tables[LEDGER].row(NEW)["creditused"] == before - after == 5


@both
def test_a_deleted_record_says_when_and_nothing_else(second_load: Changes, entity: Entity) -> None:
    deleted, held = second_load.deleted[entity], second_load.loaded.tables[entity]
    rows = [row for row in held.rows if row["id"] in deleted]

    assert len(rows) == len(deleted) == 2
    names = {name.lower() for name in COLUMNS[entity]} - {"id", DELETED_AT}
    for row in rows:
        deleted_at = datetime.fromisoformat(row[DELETED_AT].replace("Z", "+00:00"))
        age = datetime.now(timezone.utc) - deleted_at
        assert timedelta() < age < timedelta(hours=1)
        assert {row[name] for name in names} == {None}
    others = [row for row in held.rows if row["id"] not in deleted]
    assert {row[DELETED_AT] for row in others} == {None}


def test_a_new_id_gets_a_row(second_load: Changes) -> None:
    second_load.loaded.tables[LEDGER].assert_rows_of([NEW])


def test_the_other_rows_stay_as_they_were(second_load: Changes) -> None:
    second_load.loaded.assert_tables()


def test_the_recipe_answers_what_the_records_say(second_load: Changes) -> None:
    second_load.answers.assert_equal(second_load.expected_answers)


def test_the_recipe_has_met_what_is_hard_to_add_up(second_load: Changes) -> None:
    of_one_customer = [line for line in second_load.answers.by_customer if line[2] == 7]
    without = [line for line in second_load.answers.by_customer if line[2] is None]

    units = [line[5] for line in of_one_customer if line[:2] == (2025, 1)]
    assert sorted(units) == sorted([*UNITS.values(), "unknown", "unknown"])
    # Two allowances of a unit, one of which is gone by then; each is used twice.
    assert {line[7] for line in of_one_customer if line[:2] == (2025, 1)} == {2, 4}
    assert any(line[6] == PRICED and line[:2] == (2024, 12) for line in without)
    assert any(line[6] is None and line[7] == 1 and line[:2] == (2025, 1) for line in without)


@both
def test_an_id_has_one_row_or_where_appended_one_for_each_record(
    engine: Engine,
    first_load: Loaded,
    second_load: Changes,
    interrupted_load: Loaded,
    resumed_load: Loaded,
    entity: Entity,
) -> None:
    loads = [first_load, second_load.loaded, interrupted_load, resumed_load]
    written = sum(len(load.run.of(entity)) for load in loads)
    held = resumed_load.tables[entity]

    assert written > len(held.expected)
    assert held.count == (written if engine.warehouse.appends else len(held.expected))


def test_an_interrupted_run_leaves_what_it_wrote(interrupted_load: Loaded) -> None:
    run = interrupted_load.run

    assert run.tap_code != 0
    assert 0 < len(run.records) < 20
    assert run.of(ALLOWANCES) == []
    interrupted_load.assert_tables()


def test_the_state_of_an_interrupted_run_covers_what_it_wrote(interrupted_load: Loaded) -> None:
    run = interrupted_load.run

    assert run.state is not None
    emitted = run.state["bookmarks"][STREAM]["emitted"]
    stamps = {str(record["Id"]): record["UpdatedOn"] for record in run.records}
    assert {record_id: emitted[record_id] for record_id in stamps} == stamps


@both
def test_a_resumed_run_loads_the_rest_and_only_that(
    changed_again: dict[Entity, list[int]],
    interrupted_load: Loaded,
    resumed_load: Loaded,
    entity: Entity,
) -> None:
    resumed_load.tables[entity].assert_table()
    before, after = (load.run.ids_of(entity) for load in (interrupted_load, resumed_load))
    assert sorted(before + after) == sorted(changed_again[entity])


@both
def test_a_full_table_updates_every_row(full_table_load: Changes, entity: Entity) -> None:
    loaded = full_table_load.loaded

    assert sorted(loaded.run.ids_of(entity)) == sorted(full_table_load.changed[entity])
    loaded.tables[entity].assert_rows_of(full_table_load.changed[entity])


@both
def test_a_full_table_marks_what_is_gone_where_the_target_can(
    engine: Engine, second_load: Changes, full_table_load: Changes, entity: Entity
) -> None:
    rows = full_table_load.loaded.tables[entity].rows
    marked = {row["id"] for row in rows if row[DELETED_AT] is not None}

    gone = full_table_load.deleted[entity] if engine.warehouse.activates_versions else []
    assert marked == {*second_load.deleted[entity], *gone}


def test_the_recipe_leaves_out_what_a_full_table_marked(
    engine: Engine, full_table_load: Changes
) -> None:
    if not engine.warehouse.activates_versions:
        pytest.skip("this target marks nothing")

    full_table_load.answers.assert_equal(full_table_load.expected_answers)
