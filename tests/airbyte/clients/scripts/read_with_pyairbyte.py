"""Do with PyAirbyte what is ordered; runs in PyAirbyte's environment, which is slow to import.

Usage: python read_with_pyairbyte.py < orders > answers

An order is a line of JSON, and so is its answer. Each is carried out in a folder of its own or of
an earlier one, where the cache lies, by objects of its own, as runs of a user's script would be.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

# PyAirbyte tells of its progress on stdout.
answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

import airbyte  # noqa: E402
from airbyte.caches import DuckDBCache  # noqa: E402
from airbyte.sources.base import Source  # noqa: E402
from sqlalchemy import inspect, text  # noqa: E402

Order = dict[str, Any]


def connect(order: Order) -> Source:
    """The source as ordered."""
    return airbyte.get_source(
        "source-nexudus-usage",
        config=order["config"],
        local_executable=Path(order["executable"]),
        streams=order["streams"],
    )


def check(order: Order) -> Order:
    """Test the connection."""
    connect(order).check()
    return {}


def read(order: Order) -> Order:
    """Read into the cache."""
    cache = DuckDBCache(db_path=order["cache"], schema_name="nexudus")
    try:
        result = connect(order).read(cache, **order["options"])
    finally:
        # A file that is open can't be opened by another engine.
        cache.processor.sql_config.dispose_engine()
    return {"processed": result.processed_records}


def look(order: Order) -> Order:
    """The rows of a table, and the types of its columns; none where it isn't there."""
    cache = DuckDBCache(db_path=order["cache"], schema_name="nexudus")
    try:
        engine = cache.get_sql_engine()
        tables = inspect(engine).get_table_names(schema=cache.schema_name)
        if order["table"] not in tables:
            return {"rows": [], "types": {}}
        table = f'"{cache.schema_name}"."{order["table"]}"'
        with engine.connect() as connection:
            rows = connection.execute(text(f"SELECT * FROM {table}")).mappings().all()  # noqa: S608
            about = connection.execute(text(f"DESCRIBE {table}")).mappings().all()
        types = {column["column_name"]: column["column_type"] for column in about}
        return {"rows": [dict(row) for row in rows], "types": types}
    finally:
        cache.processor.sql_config.dispose_engine()


def some(order: Order) -> Order:
    """The first records, without a cache, and how long it took to let go of the source."""
    records = connect(order).get_records(order["table"], limit=order["limit"])
    rows = [dict(record) for record in records]
    # Until the source can't write any more, where it has much to write.
    time.sleep(order["pause"])
    since = time.monotonic()
    del records
    # With some Pythons, it is in a circle.
    gc.collect()
    return {"rows": rows, "seconds": time.monotonic() - since}


ACTIONS = {"check": check, "read": read, "look": look, "some": some}


def plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    message = f"a {type(value).__name__}"
    raise TypeError(message)


def main() -> None:
    """Carry out one order after the other."""
    for line in sys.stdin:
        order = json.loads(line)
        folder = Path(order["folder"])
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        try:
            answer = ACTIONS[order["action"]](order)
        except Exception as error:  # noqa: BLE001 - for the test to judge
            answer = {"error": type(error).__name__, "told": str(error)}
        print(json.dumps(answer, default=plain), file=answers, flush=True)


if __name__ == "__main__":
    main()
