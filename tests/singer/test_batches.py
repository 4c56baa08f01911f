"""BATCH: files as they are asked for, covered by STATE once they exist; or a line before any."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_files import records
from conftest import Bench, FastTap, run_tap_with
from outcomes import STREAM, Finished
from tap_server import Order, TapServer

from tap_nexudus_usage.run import checkpoints
from tap_nexudus_usage.sandbox.faults import Fault


@pytest.fixture
def batch_config() -> dict[str, Any]:
    return {
        "encoding": {"format": "jsonl", "compression": "gzip"},
        "storage": {"root": Path("batches").absolute().as_uri()},
        "batch_size": 8,
    }


def batches(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] == "BATCH"]


def assert_refused(finished: Finished, *parts: str) -> None:
    """Told before anything was written."""
    assert finished.code == 1
    assert finished.stdout == ""
    assert "bug" not in finished.last_line
    assert "Traceback" not in finished.stderr
    for part in ("Setting batch_config", *parts):
        assert part in finished.last_line


def test_batches_hold_every_record_once(bench: Bench, batch_config: dict[str, Any]) -> None:
    finished = run_tap_with(bench.settings(batch_config=batch_config))

    run = finished.run
    expected = [(STREAM, bench.expected(record_id)) for record_id in bench.ledger]
    assert list(records(run)) == expected
    assert [message["type"] for message in run.messages] == ["SCHEMA", *["BATCH"] * 3, "STATE"]
    assert '"metric":"batch_count","value":3' in finished.stderr
    assert "20 records emitted" in finished.stderr
    again = bench.read(batch_config=batch_config, state=run.state)
    assert {message["type"] for message in again.messages} == {"STATE", "SCHEMA"}


@pytest.mark.parametrize(
    ("encoding", "end"),
    [
        ({"format": "jsonl", "compression": "gzip"}, ".json.gz"),
        ({"format": "jsonl", "compression": "none"}, ".json"),
        ({"format": "jsonl"}, ".json"),
    ],
)
def test_files_are_compressed_as_asked_for_and_batch_says_so(
    bench: Bench, batch_config: dict[str, Any], encoding: dict[str, Any], end: str
) -> None:
    batch_config["encoding"] = encoding

    run = run_tap_with(bench.settings(batch_config=batch_config)).run

    assert len(list(records(run))) == 20
    for message in batches(run.messages):
        (url,) = message["manifest"]
        assert url.endswith(end)
        assert message["encoding"].get("compression") == encoding.get("compression")


@pytest.mark.parametrize(
    "root", ["batches", "./some/where", "{here}/some where", "file://{here}/x"]
)
def test_files_get_where_they_are_asked_for(
    bench: Bench, batch_config: dict[str, Any], root: str
) -> None:
    batch_config["storage"] = {"root": root.format(here=Path.cwd()), "prefix": "ledger-"}

    run = run_tap_with(bench.settings(batch_config=batch_config)).run

    assert len(list(records(run))) == 20
    for message in batches(run.messages):
        assert message["manifest"][0].startswith("file:///")
        assert Path(message["manifest"][0]).name.startswith("ledger-tap-nexudus-usage--")


def test_without_a_size_a_file_holds_ten_thousand(
    make_bench: Callable[..., Bench], batch_config: dict[str, Any]
) -> None:
    bench = make_bench(10_001)
    del batch_config["batch_size"]

    run = bench.read(batch_config=batch_config)

    kinds = [message["type"] for message in run.messages]
    # A STATE only between two files, and none that costs one.
    assert kinds == ["SCHEMA", "BATCH", "STATE", "BATCH", "STATE"]
    assert len(run.states[0]["bookmarks"][STREAM]["emitted"]) == 10_000


def test_a_state_covers_what_is_in_files_only(
    make_bench: Callable[..., Bench],
    batch_config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "STATE_EVERY", 1)
    bench = make_bench(100)
    copy = {"__source__": STREAM, "__filter__": "(CreditUsed or 0) > 60"}

    run = bench.read(batch_config=batch_config, stream_maps={STREAM: {}, "long": copy})

    for position, message in enumerate(run.messages):
        if message["type"] == "STATE":
            told = type(run)(run.messages[:position])
            ids = {str(record["Id"]) for name, record in records(told) if name == STREAM}
            assert message["value"]["bookmarks"][STREAM]["emitted"].keys() == ids
    assert len(run.states) > 3


def test_a_failed_run_in_batches_covers_what_its_files_hold(
    bench: Bench, batch_config: dict[str, Any]
) -> None:
    ids = list(bench.ledger)
    bench.world.faults.append(Fault(status=500, endpoints=("one",), ids=ids[12:], times=None))
    settings = {"batch_config": batch_config, "batch_size": 1, "max_retries": 1}

    first = bench.run(**settings)
    bench.world.faults.clear()
    second = bench.read(**settings, state=first.state)

    assert first.error is not None
    in_files = [record["Id"] for _, record in records(first)]
    assert in_files == ids[:12]
    assert first.bookmark["emitted"].keys() == set(map(str, in_files))
    assert in_files + [record["Id"] for _, record in records(second)] == ids


def test_a_file_that_cannot_be_written_is_covered_by_no_state(
    bench: Bench, batch_config: dict[str, Any], tap_server: TapServer
) -> None:
    ids = list(bench.ledger)
    # Too long for a file of such a disk.
    bench.ledger.change(ids[12], ToStringText="x" * 200_000)
    batch_config["encoding"] = {"format": "jsonl"}
    config = bench.settings(batch_config=batch_config)
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")

    finished = tap_server.run(
        Order(
            ["--config", "config.json"],
            clock_speed=FastTap.clock_speed,
            state_every=1,
            largest_file=100_000,
        )
    )

    assert finished.code == 1
    assert "A batch file can't be written: " in finished.last_line
    assert "File too large" in finished.last_line
    assert [record["Id"] for _, record in records(finished.run)] == ids[:8]
    assert list(finished.run.bookmark["emitted"]) == [str(record_id) for record_id in ids[:8]]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"encoding": {"format": "parquet"}}, [".encoding.format must be one of jsonl"]),
        ({"encoding": {"format": "csv"}}, [".encoding.format", "jsonl"]),
        ({"encoding": {"format": "jsonl", "compression": "zip"}}, ["compression", "gzip, none"]),
        ({"encoding": {}}, [".encoding: 'format' is a required"]),
        ({"encoding": None}, [".encoding"]),
        ({"encoding": "jsonl"}, [".encoding must be of type object"]),
        ({"storage": {}}, [".storage: 'root' is a required"]),
        ({"storage": {"root": ""}}, [".storage.root"]),
        ({"storage": {"root": 5}}, [".storage.root"]),
        ({"storage": {"root": "x", "params": 5}}, [".storage.params"]),
        ({"storage": {"root": "x", "path": "y"}}, [".storage", "'path'"]),
        ({"batch_size": 0}, [".batch_size must be at least 1"]),
        ({"batch_size": "many"}, [".batch_size"]),
        ({"size": 5}, ["'size'"]),
    ],
)
def test_what_cannot_be_followed_is_refused(
    bench: Bench, batch_config: dict[str, Any], change: dict[str, Any], parts: list[str]
) -> None:
    finished = run_tap_with(bench.settings(batch_config={**batch_config, **change}))

    assert_refused(finished, *parts)
    assert not Path("batches").exists()
    assert bench.count_calls() == 0


@pytest.mark.parametrize("missing", ["encoding", "storage"])
def test_what_is_missing_is_named(bench: Bench, batch_config: dict[str, Any], missing: str) -> None:
    Path("state.json").write_text(json.dumps(bench.read().state), encoding="utf-8")
    del batch_config[missing]

    finished = run_tap_with(bench.settings(batch_config=batch_config), "--state", "state.json")

    assert_refused(finished, f"'{missing}' is a required")


@pytest.mark.parametrize(
    ("root", "part"),
    [
        ("s3://bucket/folder", "s3fs"),
        ("nonsense://somewhere", "nonsense"),
        ("{here}/a-file/batches", "a-file"),
        ("{here}/a-file", "a-file"),
        ("/proc/version/batches", "/proc/version"),
        ("\x00", "embedded null"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told(
    bench: Bench, batch_config: dict[str, Any], root: str, part: str
) -> None:
    Path("a-file").touch()
    batch_config["storage"]["root"] = root.format(here=Path.cwd())

    finished = run_tap_with(bench.settings(batch_config=batch_config))

    assert_refused(finished, ".storage can't be used", part)
    assert bench.count_calls() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(
    bench: Bench, batch_config: dict[str, Any]
) -> None:
    Path("batches").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)

    finished = run_tap_with(bench.settings(batch_config=batch_config))

    assert_refused(finished, ".storage can't be used", "Permission denied")
