"""What is selected, mapped and batched, the loader gets: through real targets, byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from batch_files import content
from conftest import Bench
from outcomes import STREAM

from warehouses.engines import ENGINES
from warehouses.other_targets import pipelinewise_postgres, target_csv, target_sqlite
from warehouses.pipeline import Pipeline, catalog
from warehouses.warehouse import Row, Warehouse, in_lower_case

pytestmark = pytest.mark.warehouse

ADDRESSES = (b"front.desk@example.com", b"billing@example.com")
HASHED = {"stream_maps": {STREAM: {"UpdatedBy": "md5(UpdatedBy) if UpdatedBy else None"}}}
FILTERED = {"stream_maps": {STREAM: {"__filter__": "(CreditUsed or 0) > 60", "UpdatedBy": None}}}


def deselected() -> dict[str, Any]:
    made = catalog("INCREMENTAL")
    for entry in made["streams"][0]["metadata"]:
        if entry["breadcrumb"] == ["properties", "UpdatedBy"]:
            entry["metadata"]["selected"] = False
    return made


def removed_by_hand() -> dict[str, Any]:
    made = catalog("INCREMENTAL")
    del made["streams"][0]["schema"]["properties"]["UpdatedBy"]
    return made


def schema_and_selected_only() -> dict[str, Any]:
    schema = catalog("INCREMENTAL")["streams"][0]["schema"]
    return {"streams": [{"tap_stream_id": STREAM, "schema": schema, "selected": True}]}


def full_table_in_the_metadata() -> dict[str, Any]:
    made = catalog("INCREMENTAL")
    for entry in made["streams"][0]["metadata"]:
        if entry["breadcrumb"] == []:
            entry["metadata"]["replication-method"] = "FULL_TABLE"
    return made


HIDDEN: dict[str, dict[str, Any]] = {
    "deselected": {"given_catalog": deselected()},
    "removed by hand": {"given_catalog": removed_by_hand()},
    "hashed": HASHED,
    "filtered": FILTERED,
}


def batch_config(folder: Path, encoding: dict[str, str]) -> dict[str, Any]:
    storage = {"root": (folder / "batches").as_uri()}
    return {"batch_config": {"encoding": encoding, "storage": storage, "batch_size": 6}}


WAYS: dict[str, dict[str, str] | None] = {
    "RECORD": None,
    "BATCH gzip": {"format": "jsonl", "compression": "gzip"},
    "BATCH none": {"format": "jsonl", "compression": "none"},
    "BATCH unsaid": {"format": "jsonl"},
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """How the tap hands records over."""
    encoding = WAYS[request.param]
    return {} if encoding is None else batch_config(tmp_path, encoding)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """PostgreSQL, with target-postgres of MeltanoLabs."""
    with ENGINES["postgres"](tmp_path_factory.mktemp("postgres")) as warehouse:
        yield warehouse


@pytest.fixture
def postgres(server: Warehouse) -> Iterator[Warehouse]:
    """The same, with nothing loaded."""
    yield server
    server.query("DROP SCHEMA IF EXISTS nexudus CASCADE")


def assert_hidden(folder: Path, *more: bytes) -> None:
    """No address in any output: messages, state, logs, batches, what the target keeps."""
    outputs = [content(path) for path in folder.rglob("*") if path.is_file()]
    assert outputs
    for output in (*outputs, *more):
        for address in ADDRESSES:
            assert address not in output


def expected_rows(bench: Bench, hidden: str) -> list[Row]:
    rows = [bench.expected(record_id) for record_id in bench.ledger]
    for row in rows:
        if hidden == "hashed":
            email = row["UpdatedBy"].encode()
            row["UpdatedBy"] = md5(email, usedforsecurity=False).hexdigest()
        else:
            del row["UpdatedBy"]
        # A batch has none of the target's metadata columns.
        del row["_sdc_deleted_at"]
    if hidden == "filtered":
        rows = [row for row in rows if (row["CreditUsed"] or 0) > 60]
    return sorted(map(in_lower_case, rows), key=lambda row: row["id"])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_postgres_gets_what_is_configured(
    bench: Bench, postgres: Warehouse, tmp_path: Path, way: dict[str, Any], hidden: str
) -> None:
    Pipeline(bench, postgres, tmp_path).run(**way, **HIDDEN[hidden])

    rows = sorted(map(in_lower_case, postgres.rows()), key=lambda row: row["id"])
    expected = expected_rows(bench, hidden)
    assert len(rows) == len(expected) > 0
    for row, wanted in zip(rows, expected, strict=True):
        assert {name: row[name] for name in wanted} == wanted
    assert ("updatedby" in rows[0]) == (hidden == "hashed")
    assert_hidden(tmp_path, json.dumps(rows).encode())


def test_a_tombstone_marks_its_row(
    bench: Bench, postgres: Warehouse, tmp_path: Path, way: dict[str, Any]
) -> None:
    ids = list(bench.ledger)
    pipeline = Pipeline(bench, postgres, tmp_path)
    settings = {**way, "record_ids": ids, "on_missing_record": "tombstone"}
    pipeline.run(**settings)
    bench.ledger.delete(ids[3])

    pipeline.run(**settings)

    marked = [row for row in postgres.rows() if row["_sdc_deleted_at"] is not None]
    assert postgres.count() == 20
    assert [row["Id"] for row in marked] == [ids[3]]
    assert marked[0]["CreditUsed"] is marked[0]["UpdatedBy"] is None


def test_an_id_has_one_row_whatever_the_catalog_lacks(
    bench: Bench, postgres: Warehouse, tmp_path: Path
) -> None:
    pipeline = Pipeline(bench, postgres, tmp_path)
    pipeline.run(given_catalog=schema_and_selected_only())
    for record_id in bench.ledger:
        bench.ledger.change(record_id, CreditUsed=7)

    pipeline.run(given_catalog=schema_and_selected_only())

    assert postgres.count() == 20
    assert {row["CreditUsed"] for row in postgres.rows()} == {7}


def test_a_full_table_asked_for_in_the_metadata_deletes(
    bench: Bench, postgres: Warehouse, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "given_catalog": full_table_in_the_metadata(),
        "record_ids": None,
        "emit_activate_version_messages": True,
    }
    pipeline = Pipeline(bench, postgres, tmp_path)
    pipeline.run(record_ids=None)
    gone = next(iter(bench.ledger))
    bench.ledger.delete(gone)

    run = pipeline.run(**settings)

    assert sorted(run.ids) == list(bench.ledger)
    marked = [row["Id"] for row in postgres.rows() if row["_sdc_deleted_at"] is not None]
    assert marked == [gone]


OTHERS = {"csv": target_csv, "pipelinewise": pipelinewise_postgres, "sqlite": target_sqlite}


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("name", OTHERS)
def test_other_targets_get_what_is_configured(
    bench: Bench, tmp_path: Path, name: str, hidden: str
) -> None:
    with ExitStack() as stack:
        target = stack.enter_context(OTHERS[name](tmp_path))

        Pipeline(bench, target.warehouse, tmp_path).run(**HIDDEN[hidden])

        expected = expected_rows(bench, hidden)
        rows = target.rows()
        assert len(rows) == len(expected)
        assert ("updatedby" in rows[0]) == (hidden == "hashed")
        assert_hidden(tmp_path, target.everything())
