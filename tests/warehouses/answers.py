"""What the recipes' views and queries answer, and what Python says that they should."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from conftest import Bench

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER, Entity
from warehouses.recipes import BY_CUSTOMER, CREDITS, RECIPES, VIEWS
from warehouses.warehouse import Row, Warehouse

Lines = Counter[tuple[Any, ...]]
"""What a query answers, whatever the order of its lines."""

UNITS = {1: "minutes", 2: "days", 3: "weeks", 4: "months", 5: "uses", 6: "four-week months"}
KINDS = {True: "printing", False: "time", None: "unknown"}


@dataclass(frozen=True)
class Answers:
    """What the views and the queries on them answered at a time.

    Attributes:
        credits_used: year, month, room, uses and credits of each line.
        by_customer: year, month, customer, name, kind, unit, unknown allowance, uses, credits,
            remaining and granted.
    """

    views: Mapping[Entity, list[Row]]
    credits_used: Lines
    by_customer: Lines

    def assert_equal(self, other: Answers) -> None:
        """Compare with what is expected, the views row by row."""
        for entity, expected in other.views.items():
            view = self.views[entity]
            mine = {row["id"]: row for row in view}
            assert len(view) == len(mine)
            assert mine.keys() == {row["id"] for row in expected}
            for row in expected:
                assert mine[row["id"]] == row
        assert self.credits_used == other.credits_used
        assert self.by_customer == other.by_customer


def ask(engine: str, warehouse: Warehouse, without: Collection[str] = ()) -> Answers:
    """Make the views as the recipe says, without some fields, and look at them."""
    left_out = {snake_case(name) for name in without}
    warehouse.query("CREATE SCHEMA IF NOT EXISTS nexudus")
    for entity, select in RECIPES[engine].views.items():
        columns = (line for line in select.splitlines() if named(line) not in left_out)
        text = "\n".join(columns)
        warehouse.query(f"CREATE OR REPLACE VIEW {VIEWS[entity]} AS {text}")
    return look(warehouse)


def named(line: str) -> str:
    """What a line of a view's SELECT calls its column, if it is one's."""
    return line.rstrip(",").rpartition(" ")[2]


def look(warehouse: Warehouse) -> Answers:
    """Look at the views, and ask the queries."""
    views = {
        entity: [
            {name.lower(): value for name, value in row.items()}
            for row in warehouse.query(f"SELECT * FROM {view}")
        ]
        for entity, view in VIEWS.items()
    }
    return Answers(views, lines(warehouse, CREDITS), lines(warehouse, BY_CUSTOMER))


def lines(warehouse: Warehouse, query: str) -> Lines:
    """What a query answers."""
    return Counter(tuple(row.values()) for row in warehouse.query(query))


def expect(bench: Bench, ids: Mapping[Entity, Iterable[int]], warehouse: Warehouse) -> Answers:
    """What the sandbox's records as they are now come to, as far as they were loaded."""
    records = {
        entity: [
            with_floats(warehouse.changed_by_target(bench.expected(record_id, entity)))
            for record_id in record_ids
        ]
        for entity, record_ids in ids.items()
    }
    views = {
        entity: [
            {snake_case(name): value for name, value in row.items() if name != "_sdc_deleted_at"}
            for row in rows
        ]
        for entity, rows in records.items()
    }
    uses = records[LEDGER]
    return Answers(views, count_credits(uses), count_by_customer(uses, records[ALLOWANCES]))


def with_floats(row: Row) -> Row:
    """The row with its decimals as floating-point numbers, which most engines make of them."""
    return {
        name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()
    }


def count_credits(uses: Iterable[Row]) -> Lines:
    """Credits by month and room."""
    used: dict[tuple[Any, ...], list[int | None]] = defaultdict(list)
    for use in uses:
        key = (*month_of(use["BookingFromTime"]), use["BookingResourceName"])
        used[key].append(use["CreditUsed"])
    return Counter((*key, len(each), total(each)) for key, each in used.items())


def count_by_customer(uses: Iterable[Row], allowances: Iterable[Row]) -> Lines:
    """Credits by customer, kind and month, and what is left of what they were taken from."""
    known = {allowance["Id"]: allowance for allowance in allowances}
    of_line: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for use in uses:
        allowance_id = use["CoworkerExtraServiceId"]
        allowance = known.get(allowance_id, {})
        key = (
            *month_of(use["BookingFromTime"] or use["CreatedOn"]),
            allowance.get("CoworkerId"),
            allowance.get("ExtraServiceName"),
            KINDS[allowance.get("ExtraServiceIsPrintingCredit")],
            None if allowance else allowance_id or None,
            allowance.get("ChargePeriod"),
        )
        of_line[key].append(use)
    found: Lines = Counter()
    for (*first, unknown, charge_period), line in of_line.items():
        spent = [known[i] for i in {use["CoworkerExtraServiceId"] for use in line} & known.keys()]
        answered = (
            *first,
            UNITS.get(charge_period, "unknown"),
            unknown,
            len(line),
            total(use["CreditUsed"] for use in line),
            total(allowance["RemainingUses"] for allowance in spent),
            total(allowance["TotalUses"] for allowance in spent),
        )
        found[answered] += 1
    return found


def month_of(stamp: str | None) -> tuple[int | None, int | None]:
    """Year and month of a date-time in UTC."""
    return (int(stamp[:4]), int(stamp[5:7])) if stamp else (None, None)


def total(numbers: Iterable[int | None]) -> int | None:
    """The sum as SQL has it: of no number at all it is null."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def snake_case(name: str) -> str:
    """The view's name of a column."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
