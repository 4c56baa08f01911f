"""Run target-snowflake's own command with fakesnow in the place of Snowflake.

The target is unmodified; its SQL is run by fakesnow, which translates it for DuckDB. Two things
have to be mended, and that is all that this shim does. fakesnow knows no user stage (`@~`), through
which the target loads: PUT and REMOVE on it are carried out on a dictionary, and a MERGE or COPY
that reads from it reads the same staged files from a temporary table instead. And primary keys,
which Snowflake doesn't enforce but DuckDB does, are left out.

So it proves that the target accepts what the tap writes, its tables and columns, the files it
stages, and the logic of its merge. It does not prove Snowflake itself: not its stages and file
formats, not how it casts what it reads from them, not its limits, and nothing about logging in.

Usage: python target_snowflake_on_fakesnow.py <folder of the databases> <the target's arguments>
"""

from __future__ import annotations

import gzip
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import fakesnow
from fakesnow.cursor import FakeSnowflakeCursor
from target_snowflake.target import TargetSnowflake

PUT = re.compile(r"put (?P<file>.+) '(?P<folder>@~/[^']+)'", re.IGNORECASE)
REMOVE = re.compile(r"remove '(?P<folder>@~/[^']+)/'", re.IGNORECASE)
MERGE = re.compile(
    r"(?P<into>merge into (?P<schema>\S+)\.\S+ d using) "
    r"\(select (?P<columns>.+) from '(?P<folder>@~/[^']+)'\(file_format => [^)]+\) (?P<rest>.+)",
    re.IGNORECASE | re.DOTALL,
)

COPY = re.compile(
    r"copy into (?P<table>(?P<schema>\S+)\.\S+) \((?P<names>[^)]+)\) from "
    r"\(select (?P<columns>.+) from '(?P<folder>@~/[^']+)'\)file_format = .+",
    re.IGNORECASE | re.DOTALL,
)
COPIED = """
    select 'staged' as file, 'LOADED' as status, count(*) as rows_parsed, count(*) as rows_loaded
    from staged
"""
PRIMARY_KEY = re.compile(r",\s*primary key \([^)]*\)", re.IGNORECASE)

execute_on_fakesnow = FakeSnowflakeCursor.execute
user_stage: dict[str, list[Path]] = {}
one_at_a_time = threading.RLock()
"""The target loads its streams at the same time, which fakesnow's own tables don't bear."""


def execute(
    cursor: FakeSnowflakeCursor,
    command: str,
    params: Sequence[Any] | dict[Any, Any] | None = None,
    *args: Any,
    **kwargs: Any,
) -> FakeSnowflakeCursor:
    """Take over what concerns the user stage, and leave the rest to fakesnow."""
    with one_at_a_time:
        return execute_alone(cursor, command, params, *args, **kwargs)


def execute_alone(
    cursor: FakeSnowflakeCursor,
    command: str,
    params: Sequence[Any] | dict[Any, Any] | None,
    *args: Any,
    **kwargs: Any,
) -> FakeSnowflakeCursor:
    """The same, while no other thread does."""
    if put := PUT.fullmatch(command):
        uri = put["file"] % params if params else put["file"]
        user_stage.setdefault(put["folder"], []).append(Path(urlparse(uri.strip("'")).path))
    elif remove := REMOVE.fullmatch(command):
        user_stage.pop(remove["folder"], None)
    else:
        if merge := MERGE.fullmatch(command):
            stage_as_table(cursor, merge)
            # DuckDB has no SEQ8 to number the lines by: the table has it as a column.
            rest = merge["rest"].replace("SEQ8()", "line")
            command = f"{merge['into']} (select * from staged {rest}"
        elif copy := COPY.fullmatch(command):
            stage_as_table(cursor, copy)
            names = copy["names"]
            execute_on_fakesnow(
                cursor, f"insert into {copy['table']} ({names}) select {names} from staged"
            )
            command = COPIED
        command = PRIMARY_KEY.sub("", command)
        return execute_on_fakesnow(cursor, command, params, *args, **kwargs)
    return execute_on_fakesnow(cursor, "select 'done' as status")


def stage_as_table(cursor: FakeSnowflakeCursor, command: re.Match[str]) -> None:
    """Put the staged records into a table, in the columns that the command selects from them."""
    # fakesnow's MERGE wants one, though all names are qualified.
    execute_on_fakesnow(cursor, f"use schema {command['schema']}")
    execute_on_fakesnow(
        cursor, "create or replace temporary table staged_lines (record variant, line number)"
    )
    for line, record in enumerate(records(user_stage[command["folder"]])):
        # Past fakesnow, which would translate the data.
        cursor._duck_conn.execute("INSERT INTO staged_lines VALUES (?, ?)", [record, line])
    columns = command["columns"].replace("$1:", "record:")
    execute_on_fakesnow(
        cursor,
        f"create or replace temporary table staged as select {columns}, line from staged_lines",
    )


def records(files: list[Path]) -> Iterator[str]:
    """The lines of staged files."""
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8", newline="\n") as lines:
            yield from lines


def main() -> None:
    """Run the target as its command would be run."""
    _, folder, *arguments = sys.argv
    FakeSnowflakeCursor.execute = execute
    # The files of a run are named by that run alone, so nothing is left to drop.
    with fakesnow.patch(
        db_path=folder, create_schema_on_connect=False, nop_regexes=["drop file format"]
    ):
        TargetSnowflake.cli(arguments)


if __name__ == "__main__":
    main()
