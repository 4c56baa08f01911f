"""What the recipes' view and query answer, and what Python says that they should."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from conftest import Bench

from warehouses.recipes import CREDITS, RECIPES, VIEW
from warehouses.warehouse import Row, Warehouse

Credits = set[tuple[int | None, int | None, str | None, int, int | None]]
"""Year, month, room, uses and credits of each line."""


@dataclass(frozen=True)
class Answers:
    """What the view and the query on it answered at a time."""

    view: list[Row]
    credits_used: Credits

    def assert_equal(self, other: Answers) -> None:
        """Compare with what is expected, the view row by row."""
        mine = {row["id"]: row for row in self.view}
        assert len(self.view) == len(mine)
        assert mine.keys() == {row["id"] for row in other.view}
        for row in other.view:
            assert mine[row["id"]] == row
        assert self.credits_used == other.credits_used


def ask(engine: str, warehouse: Warehouse) -> Answers:
    """Make the view as the recipe says, and look at it."""
    warehouse.query("CREATE SCHEMA IF NOT EXISTS nexudus")
    warehouse.query(f"CREATE OR REPLACE VIEW {VIEW} AS {RECIPES[engine].view}")
    return look(warehouse)


def look(warehouse: Warehouse) -> Answers:
    """Look at the view, and ask the query."""
    view = [
        {name.lower(): value for name, value in row.items()}
        for row in warehouse.query(f"SELECT * FROM {VIEW}")
    ]
    lines = [tuple(row.values()) for row in warehouse.query(CREDITS)]
    assert len(lines) == len(set(lines))
    return Answers(view, set(lines))


def expect(bench: Bench, record_ids: Iterable[int], warehouse: Warehouse) -> Answers:
    """What the ledger as it is now comes to, as far as it was loaded."""
    records = [bench.expected(record_id) for record_id in record_ids]
    for record in records:
        del record["_sdc_deleted_at"]
    view = [
        {snake_case(name): value for name, value in warehouse.changed_by_target(record).items()}
        for record in records
    ]
    return Answers(view, count_credits(records))


def count_credits(records: Iterable[Row]) -> Credits:
    """Credits by month and room."""
    used: dict[tuple[int | None, int | None, str | None], list[int | None]] = defaultdict(list)
    for record in records:
        start = record["BookingFromTime"]
        year, month = (int(start[:4]), int(start[5:7])) if start else (None, None)
        used[year, month, record["BookingResourceName"]].append(record["CreditUsed"])
    return {(*key, len(each), total(each)) for key, each in used.items()}


def total(numbers: Iterable[int | None]) -> int | None:
    """The sum as SQL has it: of no number at all it is null."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def snake_case(name: str) -> str:
    """The view's name of a column."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
