"""What the engines have in common: a target to load them, and a way to query them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from outcomes import STREAM
from typing_extensions import Self

from tap_nexudus_usage.nexudus.entities import Entity

Row = dict[str, Any]

SCRIPTS = Path(__file__).parent / "scripts"


def in_lower_case(row: Row) -> Row:
    """Engines differ in the case of names only, so they are compared in lower case."""
    return {name.lower(): value for name, value in row.items()}


@dataclass
class Warehouse:
    """An engine with a target, and of its tables the one that is looked at.

    In SQL that concerns the table, its name is `{stream}`.

    Attributes:
        target: the command of the target.
        queried_by: the command that runs the SQL on its stdin and prints the rows as JSON.
        table: what to count the rows of.
        latest: what to select one row per Id from.
        columns: SQL that gives names and types of the columns.
        stream: whose table it is.
        env: what both commands need in their environment.
        appends: whether the target adds a row for each record, instead of updating the Id's.
        activates_versions: whether the target does anything about an ACTIVATE_VERSION message.
        named: a column's name, from the tap's.
        changed_by_target: a row as it lands, where the target is known to change it.
    """

    target: Sequence[str | Path]
    queried_by: Sequence[str | Path]
    table: str
    columns: str
    home: Path
    latest: str = ""
    stream: str = STREAM
    env: Mapping[str, str] = field(default_factory=dict)
    appends: bool = False
    activates_versions: bool = False
    named: Callable[[str], str] = str
    changed_by_target: Callable[[Row], Row] = dict

    @property
    def environment(self) -> dict[str, str]:
        """The environment for its commands; nothing of the machine's user gets in."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        return {**kept, "HOME": str(self.home), "NO_PROXY": "127.0.0.1", **self.env}

    def of(self, entity: Entity) -> Self:
        """The same, to look at an entity's table."""
        return replace(self, stream=entity.stream)

    def count(self) -> int:
        """How many rows the table has."""
        ((count,),) = (row.values() for row in self._query(f"SELECT count(*) FROM {self.table}"))
        return int(count)

    def rows(self) -> list[Row]:
        """The rows, each Id's latest where there are several."""
        return self._query(f"SELECT * FROM {self.latest or self.table}")

    def column_types(self) -> dict[str, str]:
        """The types of the columns, by name."""
        pairs = [list(row.values()) for row in self._query(self.columns)]
        return {pair[0]: pair[1] for pair in pairs}

    def _query(self, sql: str) -> list[Row]:
        return self.query(sql.replace("{stream}", self.stream))

    def query(self, sql: str) -> list[Row]:
        """The rows that a query finds; none where it is a command."""
        finished = subprocess.run(
            self.queried_by,
            input=sql,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert finished.returncode == 0, finished.stderr
        return [json.loads(line) for line in finished.stdout.splitlines()]
