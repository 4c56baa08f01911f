"""Full table replication: everything, and deletions only after a complete read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, run_tap_with
from outcomes import STREAM
from postgresql import Postgres, serve

from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.singer.tap import TapNexudusUsage

TABLE = f"nexudus.{STREAM}"
UV = Path(sys.executable).parent / "uv"


@pytest.fixture
def full_table(make_bench: Callable[..., Bench]) -> Bench:
    bench = make_bench(60)
    bench.config |= {"record_ids": None, "page_size": 7, "emit_activate_version_messages": True}
    return bench


def catalog() -> dict[str, Any]:
    tap = TapNexudusUsage(validate_config=False)
    entries: dict[str, Any] = json.loads(tap.catalog_json_text)
    entries["streams"][0]["replication_method"] = "FULL_TABLE"
    return entries


def versions(messages: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    return [(m["type"], m.get("version")) for m in messages if m["type"] != "STATE"]


@pytest.mark.parametrize("by_id", [True, False])
def test_the_version_is_activated_after_the_last_record(full_table: Bench, *, by_id: bool) -> None:
    ids = list(full_table.ledger) if by_id else None

    run = full_table.read(catalog=catalog(), record_ids=ids)

    kinds = versions(run.messages)
    version = kinds[-1][1]
    assert version is not None
    assert kinds[0][0] == "SCHEMA"
    assert kinds[1:-1] == [("RECORD", version)] * 60
    assert kinds[-1] == ("ACTIVATE_VERSION", version)
    assert sorted(run.ids) == list(full_table.ledger)


@pytest.mark.parametrize("by_id", [True, False])
def test_a_failed_read_activates_nothing(full_table: Bench, *, by_id: bool) -> None:
    ids = list(full_table.ledger)
    if by_id:
        full_table.world.faults.append(
            Fault(endpoints=("one",), ids=(ids[40],), status=500, times=None)
        )
    else:
        full_table.world.faults.append(Fault(endpoints=("search",), skip=5, status=500, times=None))

    run = full_table.run(
        catalog=catalog(), record_ids=ids if by_id else None, batch_size=1, max_retries=1
    )

    assert run.error is not None
    assert run.records
    assert "ACTIVATE_VERSION" not in {message["type"] for message in run.messages}


@pytest.mark.parametrize("reason", ["invalid", "start_date", "unstamped"])
def test_a_read_that_left_something_out_activates_nothing(
    full_table: Bench, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    some = list(full_table.ledger)[3]
    settings: dict[str, Any] = {}
    if reason == "invalid":
        full_table.ledger.change(some, CreditUsed="a lot")
        settings["on_invalid_record"] = "warn"
    elif reason == "start_date":
        settings["start_date"] = "2001-01-01T00:00:00Z"
    else:
        full_table.ledger.change(some, UpdatedOn=None)

    run = full_table.read(catalog=catalog(), **settings)

    assert "ACTIVATE_VERSION" not in {message["type"] for message in run.messages}
    assert "No ACTIVATE_VERSION is written" in caplog.text


def test_batches_activate_nothing(
    full_table: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "batches").mkdir()
    batch_config = {
        "encoding": {"format": "jsonl", "compression": "gzip"},
        "storage": {"root": f"file://{tmp_path}/batches"},
    }

    run = full_table.read(catalog=catalog(), batch_config=batch_config)

    assert {message["type"] for message in run.messages} == {"SCHEMA", "BATCH", "STATE"}
    assert "No ACTIVATE_VERSION is written" in caplog.text


def test_nothing_is_activated_unless_asked_for(full_table: Bench) -> None:
    run = full_table.read(catalog=catalog(), emit_activate_version_messages=None)

    assert {message["type"] for message in run.messages} <= {"SCHEMA", "RECORD", "STATE"}


def test_bookmark_and_emitted_stay_as_they_were(full_table: Bench) -> None:
    first = full_table.read()

    second = full_table.read(state=first.state, catalog=catalog())

    assert sorted(second.ids) == list(full_table.ledger)
    assert second.state == first.state


# Into a real database


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with serve() as server:
        yield server


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """target-postgres, in an environment of its own as a runner would have it."""
    venv = tmp_path_factory.mktemp("target") / "venv"
    for command in (
        [UV, "venv", "--quiet", "--python", sys.executable, venv],
        [UV, "pip", "install", "--quiet", "--python", venv, "meltanolabs-target-postgres==0.8.1"],
    ):
        subprocess.run(command, check=True, timeout=300)
    return venv / "bin" / "target-postgres"


@pytest.mark.warehouse
def test_a_complete_refresh_deletes_and_one_that_dies_leaves_the_table_as_it_was(
    full_table: Bench, postgres: Postgres, target: Path
) -> None:
    bench = full_table
    Path("target.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "port": postgres.port,
                "user": "postgres",
                "password": "unused",
                "database": "postgres",
                "default_target_schema": "nexudus",
                "hard_delete": True,
            }
        ),
        encoding="utf-8",
    )
    Path("catalog.json").write_text(json.dumps(catalog()), encoding="utf-8")

    def refresh(**settings: Any) -> int:
        tap = run_tap_with(bench.settings(**settings), "--catalog", "catalog.json")
        loaded = subprocess.run(
            [target, "--config", "target.json"],
            input=tap.stdout,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert loaded.returncode == 0, loaded.stderr
        return tap.code

    def in_table() -> list[int]:
        query = f'SELECT "Id" FROM {TABLE}'  # noqa: S608 - a constant
        return [int(line) for line in postgres.query(query)]

    assert refresh() == 0
    assert sorted(in_table()) == list(bench.ledger)

    before = list(bench.ledger)
    for record_id in before[::10]:
        bench.ledger.delete(record_id)
    bench.world.faults.append(Fault(endpoints=("search",), skip=4, status=500, times=None))
    assert refresh(max_retries=1) == 1
    assert sorted(in_table()) == before

    bench.world.faults.clear()
    assert refresh() == 0
    assert sorted(in_table()) == list(bench.ledger)
