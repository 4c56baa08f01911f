"""Records that change between two searches, on demand or at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tap_nexudus_usage.sandbox.records import Table

Change = Callable[[Table], object]


def update_one(table: Table, chance: random.Random) -> None:
    """Update a record, an early one rather than a late one."""
    if ids := list(table):
        table.change(
            ids[int(len(ids) * chance.random() ** 2)], **{table.quantity: chance.randint(0, 999)}
        )


def delete_one(table: Table, chance: random.Random) -> None:
    """Delete a record."""
    if ids := list(table):
        table.delete(chance.choice(ids))


def insert_one(table: Table, _: random.Random) -> None:
    """Insert a record."""
    table.insert()


@dataclass
class Turmoil:
    """What happens before each search.

    Attributes:
        ordered: changes to make, one before each search, first ones first.
        probability: of each further change at random, after those ordered.
        most: changes at random in all, at the most; None: no limit.
    """

    ordered: list[Change] = field(default_factory=list)
    probability: float = 0.0
    most: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        """Seed the chances."""
        self._random = random.Random(self.seed)  # noqa: S311 - data, no secret

    def happen(self, table: Table) -> None:
        """Change the table as it was ordered, or at random."""
        if self.ordered:
            self.ordered.pop(0)(table)
        while self.most != 0 and self._random.random() < self.probability:
            if self.most is not None:
                self.most -= 1
            self._random.choice((update_one, update_one, delete_one, insert_one))(
                table, self._random
            )
