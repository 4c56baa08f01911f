"""The engines, each with the target that people load it with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import postgresql

from warehouses.environments import environment
from warehouses.recipes import RECIPES
from warehouses.warehouse import SCRIPTS, Row, Warehouse

QUERY = SCRIPTS / "query.py"
SCHEMA = "nexudus"


def config_file(folder: Path, engine: str, **differences: Any) -> Path:
    """The target's config: the recipe's, but for what differs here; None removes a setting."""
    config = {**RECIPES[engine].config, **differences}
    path = folder / "target.json"
    path.write_text(
        json.dumps({name: value for name, value in config.items() if value is not None}),
        encoding="utf-8",
    )
    return path


@contextmanager
def postgres(folder: Path) -> Iterator[Warehouse]:
    """target-postgres of MeltanoLabs, and a real server."""
    bin_folder = environment("postgres")
    with postgresql.serve() as server:
        config = config_file(
            folder,
            "postgres",
            host="127.0.0.1",
            port=server.port,
            user="postgres",
            password="unused",
            database="postgres",
        )
        conninfo = f"host=127.0.0.1 port={server.port} user=postgres"
        yield Warehouse(
            target=[bin_folder / "target-postgres", "--config", config],
            queried_by=[bin_folder / "python", QUERY, "postgres", conninfo],
            table=f"{SCHEMA}.{{stream}}",
            columns=(
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_name = '{stream}'"
            ),
            home=folder,
            activates_versions=True,
        )


@contextmanager
def duckdb(folder: Path) -> Iterator[Warehouse]:
    """target-duckdb, and a database file."""
    bin_folder = environment("duckdb")
    # Neither a dot in the file's stem nor the schema's name, both of which the target takes amiss.
    database = folder / "warehouse.duckdb"
    config = config_file(folder, "duckdb", path=str(database))
    yield Warehouse(
        target=[bin_folder / "target-duckdb", "--config", config],
        queried_by=[bin_folder / "python", QUERY, "duckdb", database],
        table=f"{SCHEMA}.{{stream}}",
        columns=(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = '{stream}'"
        ),
        home=folder,
        named=str.lower,
        changed_by_target=without_empty_texts,
    )


def without_empty_texts(row: Row) -> Row:
    """The row with nulls for empty texts: target-duckdb loads through CSV and makes them so."""
    return {name: None if value == "" else value for name, value in row.items()}


@contextmanager
def jsonl(folder: Path) -> Iterator[Warehouse]:
    """target-jsonl, and DuckDB to read its file.

    The latest of an Id is its last line. `UpdatedOn` wouldn't do: a tombstone has none, and a
    correction may be stamped earlier than what it corrects.
    """
    bin_folder = environment("jsonl")
    # Meltano runs the target in its project's folder.
    output = folder / "output"
    output.mkdir()
    config = config_file(folder, "jsonl", destination_path=str(output))
    lines = f"read_json_auto('{output}/{{stream}}.jsonl')"
    yield Warehouse(
        target=[bin_folder / "target-jsonl", "--config", config],
        queried_by=[bin_folder / "python", QUERY, "duckdb", folder / "reader.duckdb"],
        table=lines,
        latest=(
            f"(SELECT * EXCLUDE (line) FROM (SELECT *, row_number() OVER () AS line FROM {lines}) "
            "QUALIFY row_number() OVER (PARTITION BY Id ORDER BY line DESC) = 1)"
        ),
        columns=f"DESCRIBE SELECT * FROM {lines}",
        home=folder,
        appends=True,
    )


@contextmanager
def snowflake(folder: Path, **differences: Any) -> Iterator[Warehouse]:
    """target-snowflake of MeltanoLabs, run on fakesnow: see the script for what that proves."""
    bin_folder = environment("snowflake", ("3.11", "3.12", "3.13"))
    databases = folder / "databases"
    databases.mkdir()
    config = config_file(
        folder, "snowflake", password="unused", private_key_path=None, **differences
    )
    target = SCRIPTS / "target_snowflake_on_fakesnow.py"
    yield Warehouse(
        target=[bin_folder / "python", target, databases, "--config", config],
        queried_by=[bin_folder / "python", QUERY, "fakesnow", databases],
        table="{stream}",
        columns=(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = upper('{stream}')"
        ),
        home=folder,
        activates_versions=True,
        named=str.upper,
    )


@contextmanager
def bigquery(folder: Path, **differences: Any) -> Iterator[Warehouse]:
    """z3-target-bigquery, unmodified, and the emulator local-bigquery."""
    bin_folder = environment("bigquery", ("3.11",))
    with emulator(folder) as (address, service_account):
        config = config_file(
            folder,
            "bigquery",
            credentials_path=None,
            credentials_json=service_account,
            **differences,
        )
        project = RECIPES["bigquery"].config["project"]
        yield Warehouse(
            target=[bin_folder / "target-bigquery", "--config", config],
            queried_by=[bin_folder / "python", QUERY, "bigquery", project],
            table=f"{SCHEMA}.{{stream}}",
            columns=(
                f"SELECT column_name, data_type FROM {SCHEMA}.INFORMATION_SCHEMA.COLUMNS "
                "WHERE table_name = '{stream}'"
            ),
            home=folder,
            env={"BIGQUERY_EMULATOR_HOST": address},
        )


@contextmanager
def emulator(folder: Path) -> Iterator[tuple[str, str]]:
    """Run the emulator; gives its address, and a service account that it takes, as JSON text."""
    bin_folder = environment("bigquery_emulator", ("3.13",))
    data = folder / "emulator"
    data.mkdir()
    with (
        (folder / "emulator.log").open("w", encoding="utf-8") as log,
        subprocess.Popen(
            [bin_folder / "python", SCRIPTS / "bigquery_emulator.py", data],
            # DuckDB's extensions are put there, once.
            env={"HOME": str(bin_folder.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "emulator.log").read_text(encoding="utf-8")
            started = json.loads(line)
            yield started["address"], json.dumps(started["service_account"])
        finally:
            process.kill()


ENGINES: dict[str, Callable[[Path], AbstractContextManager[Warehouse]]] = {
    "postgres": postgres,
    "duckdb": duckdb,
    "jsonl": jsonl,
    "snowflake": snowflake,
    "bigquery": bigquery,
}
