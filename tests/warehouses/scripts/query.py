"""Print what a query finds, one JSON object a row; runs in the environment of the engine's target.

Usage: python query.py <engine> <where it is> < query.sql
"""

# Each engine's environment has the module of that engine only.
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID


@contextmanager
def postgres(conninfo: str) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(conninfo) as connection:
        yield connection


@contextmanager
def duckdb(path: str) -> Iterator[Any]:
    import duckdb

    with duckdb.connect(path) as connection:
        # pytz, which DuckDB wants for date-times with a zone, isn't everywhere.
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@contextmanager
def fakesnow(folder: str) -> Iterator[Any]:
    import fakesnow
    import snowflake.connector

    with fakesnow.patch(db_path=folder, create_schema_on_connect=False):
        yield snowflake.connector.connect(database="ANALYTICS", schema="NEXUDUS")


@contextmanager
def bigquery(project: str) -> Iterator[Any]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery
    from google.cloud.bigquery import dbapi

    with bigquery.Client(project, AnonymousCredentials()) as client:
        yield dbapi.connect(client, prefer_bqstorage_client=False)


CONNECT: dict[str, Callable[[str], AbstractContextManager[Any]]] = {
    "postgres": postgres,
    "duckdb": duckdb,
    "fakesnow": fakesnow,
    "bigquery": bigquery,
}


def as_json(value: Any) -> Any:
    """Date-times as the tap writes them, whatever zone they come in; numbers as JSON has them."""
    if isinstance(value, datetime):
        utc = value if value.tzinfo is None else value.astimezone(timezone.utc)
        return f"{utc.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    if isinstance(value, Decimal):
        is_whole = value == value.to_integral_value() and abs(value) < 2**64
        return int(value) if is_whole else float(value)
    return str(value) if isinstance(value, UUID) else value


def main() -> None:
    """Run the query given on stdin."""
    _, engine, address = sys.argv
    with CONNECT[engine](address) as connection:
        cursor = connection.cursor()
        cursor.execute(sys.stdin.read())
        # None or empty for a command.
        if not cursor.description:
            return
        names = [column[0] for column in cursor.description]
        for row in cursor.fetchall():
            print(json.dumps(dict(zip(names, map(as_json, row), strict=True))))  # noqa: T201


if __name__ == "__main__":
    main()
