"""Targets that people use beside the five: what they are run with, and what is found then."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import postgresql
from conftest import date_times
from outcomes import STREAM

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.nexudus.entities import LEDGER
from warehouses.environments import environment
from warehouses.warehouse import Row, Warehouse

Command = Sequence[str | Path]


@dataclass
class Target:
    """A target, and how to see what it has loaded.

    Attributes:
        warehouse: what a pipeline needs of it.
        rows: what is there, with names as `plain` gives them.
        landed: a record of the tap as it should be there.
        everything: all that is there, as bytes.
    """

    warehouse: Warehouse
    rows: Callable[[], list[Row]]
    landed: Callable[[Row], Row]
    everything: Callable[[], bytes]


def plain(name: str) -> str:
    """A column's name without what targets make of it: case, underscores."""
    return name if name.startswith("_sdc_") else name.replace("_", "").lower()


def renamed(row: Mapping[str, Any]) -> Row:
    return {plain(name): value for name, value in row.items()}


def write_config(folder: Path, config: Mapping[str, Any]) -> Path:
    path = folder / "target.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def warehouse(folder: Path, target: Command) -> Warehouse:
    """What a pipeline needs; it isn't queried by a command."""
    return Warehouse(target=target, queried_by=(), table="", columns="", home=folder)


@contextmanager
def target_csv(folder: Path, **differences: Any) -> Iterator[Target]:
    """target-csv of MeltanoLabs."""
    output = folder / "output"
    output.mkdir()
    config = write_config(folder, {"output_path": str(output), **differences})
    command: Command = [environment("csv") / "target-csv", "--config", config]

    def rows() -> list[Row]:
        with (output / f"{STREAM}.csv").open(encoding="utf-8", newline="") as file:
            return [renamed(row) for row in csv.DictReader(file)]

    def landed(record: Row) -> Row:
        texts = {name: "" if value is None else str(value) for name, value in record.items()}
        for name in date_times(LEDGER):
            if record.get(name) is not None:
                texts[name] = str(datetime.fromisoformat(record[name].replace("Z", "+00:00")))
        return renamed(texts)

    def everything() -> bytes:
        return b"".join(path.read_bytes() for path in output.iterdir())

    yield Target(warehouse(folder, command), rows, landed, everything)


@contextmanager
def pipelinewise_postgres(folder: Path, **differences: Any) -> Iterator[Target]:
    """target-postgres of PipelineWise, and a real server."""
    bin_folder = environment("pipelinewise_postgres", ("3.11", "3.10"))
    with postgresql.serve() as server:
        config = {
            "host": "127.0.0.1",
            "port": server.port,
            "user": "postgres",
            "password": "unused",
            "dbname": "postgres",
            "default_target_schema": "nexudus",
            **differences,
        }
        command: Command = [
            bin_folder / "target-postgres",
            "--config",
            write_config(folder, config),
        ]

        def rows() -> list[Row]:
            lines = server.query(f"SELECT to_jsonb(t) FROM nexudus.{STREAM} t")
            return [renamed(json.loads(line)) for line in lines]

        def landed(record: Row) -> Row:
            written = {name: without_line_breaks(value) for name, value in record.items()}
            for name in (*date_times(LEDGER), "_sdc_deleted_at"):
                if written.get(name) is not None:
                    # As PostgreSQL writes a timestamp in JSON.
                    written[name] = written[name].removesuffix("Z").rstrip("0").removesuffix(".")
            return renamed(written)

        def everything() -> bytes:
            return json.dumps(rows()).encode()

        yield Target(warehouse(folder, command), rows, landed, everything)


def without_line_breaks(value: Any) -> Any:
    """What PipelineWise's target makes of a text: JSON's escapes, and null if it is empty."""
    if not isinstance(value, str):
        return value
    return re.sub("[\\x00-\\x1f]", lambda found: json.dumps(found[0])[1:-1], value) or None


@contextmanager
def target_sqlite(folder: Path) -> Iterator[Target]:
    """target-sqlite, which needs a Python before 3.10."""
    bin_folder = environment("sqlite", ("3.9", "3.8"))
    database = folder / "warehouse.db"
    # The target adds the ending itself.
    config = write_config(folder, {"database": str(database.with_suffix(""))})
    command: Command = [bin_folder / "target-sqlite", "--config", config]

    def rows() -> list[Row]:
        connection = sqlite3.connect(database)
        try:
            connection.row_factory = sqlite3.Row
            found = connection.execute(f"SELECT * FROM {STREAM}").fetchall()
            return [renamed(dict(row)) for row in found]
        finally:
            connection.close()

    yield Target(warehouse(folder, command), rows, renamed, database.read_bytes)


@dataclass(frozen=True)
class Behaviour:
    """What a target is known to do.

    Attributes:
        opened: with the target's settings, if it takes any.
        keeps_earlier_runs: whether rows of earlier runs are still there.
        marks_tombstones: whether `_sdc_deleted_at` gets in.
        deletes_tombstones: whether a tombstone deletes the row.
    """

    opened: Callable[..., AbstractContextManager[Target]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    keeps_earlier_runs: bool = True
    marks_tombstones: bool = True
    deletes_tombstones: bool = False


OTHERS = {
    "csv": Behaviour(target_csv, keeps_earlier_runs=False, marks_tombstones=False),
    "csv with metadata": Behaviour(
        target_csv, {"add_record_metadata": True}, keeps_earlier_runs=False
    ),
    "csv to append": Behaviour(
        target_csv,
        {"overwrite_behavior": "append_records"},
        keeps_earlier_runs=False,
        marks_tombstones=False,
    ),
    "pipelinewise-postgres": Behaviour(pipelinewise_postgres),
    "pipelinewise-postgres with hard_delete": Behaviour(
        pipelinewise_postgres, {"hard_delete": True}, deletes_tombstones=True
    ),
    "sqlite": Behaviour(target_sqlite),
}


def moment(value: Any) -> str:
    """A mark of deletion as the tap writes it, whatever a target makes of a date-time."""
    return timestamps.canonical(str(value).replace(" ", "T").replace("+00:00", "Z"))
