"""STATE: never ahead of what was written, written at every end, and small."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, run_measured, run_tap_with
from outcomes import STREAM, Finished
from waiting import LONGEST_WAIT, is_full, wait_until

from tap_nexudus_usage.errors import ApiError, SettingsError
from tap_nexudus_usage.nexudus.entities import ALLOWANCES
from tap_nexudus_usage.run import checkpoints
from tap_nexudus_usage.sandbox.faults import Fault


def test_the_state_has_the_promised_shape(bench: Bench) -> None:
    ids = list(bench.ledger)[:2]
    bench.ledger.change(ids[0], UpdatedOn="2025-01-15T10:30:00.5Z")
    bench.ledger.change(ids[1], UpdatedOn="2025-01-15T10:30:00.1234567Z")

    run = bench.read(record_ids=ids)

    assert run.state == {
        "bookmarks": {
            STREAM: {
                "replication_key": "UpdatedOn",
                "replication_key_value": "2025-01-15T10:30:00.500000Z",
                "read_by": "id",
                "emitted": {
                    str(ids[0]): "2025-01-15T10:30:00.500000Z",
                    str(ids[1]): "2025-01-15T10:30:00.123456Z",
                },
            }
        }
    }


@pytest.mark.parametrize(
    "bookmark",
    [
        {},
        {"replication_key": "UpdatedOn", "replication_key_value": "2025-01-15T10:30:00Z"},
        {"replication_key_value": "2025-01-15T10:30:00.5Z", "progress_markers": {"Note": "x"}},
        {"starting_replication_value": None, "partitions": []},
        {"emitted": None, "read_by": "search"},
    ],
)
def test_states_of_other_shapes_are_accepted(bench: Bench, bookmark: dict[str, object]) -> None:
    run = bench.read(state={"bookmarks": {STREAM: bookmark}})

    assert run.ids == list(bench.ledger)
    assert run.bookmark.keys() == {
        "replication_key",
        "replication_key_value",
        "read_by",
        "emitted",
    }


def test_the_bookmark_of_another_stream_is_kept(bench: Bench) -> None:
    other = {"partitions": [{"context": {"room": 1}}], "seen": "2025-01-15"}

    run = bench.read(state={"bookmarks": {"bookings": dict(other)}})

    assert run.ids == list(bench.ledger)
    assert run.state["bookmarks"]["bookings"] == other


@pytest.mark.parametrize(
    "state",
    [
        {"bookmarks": {STREAM: {"emitted": ["1"]}}},
        {"bookmarks": {STREAM: {"replication_key_value": 5}}},
        {"bookmarks": {STREAM: {"replication_key_value": "yesterday"}}},
        {"bookmarks": {STREAM: {"emitted": {"1": 5}}}},
        {"type": "STATE", "value": {"bookmarks": {}}},
        {"completed": {"singer_state": {}}},
        {"bookmarks": {STREAM: None}},
        {"bookmarks": []},
    ],
)
def test_a_state_that_cannot_be_understood_is_told(bench: Bench, state: dict[str, object]) -> None:
    run = bench.run(state=state)

    assert isinstance(run.error, SettingsError)
    assert "state" in str(run.error)


def test_a_failed_run_is_resumed_where_it_ended(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(100)
    broken = list(bench.ledger)[60:]
    fault = Fault(status=500, endpoints=("one",), ids=broken, times=None)
    bench.world.faults.append(fault)

    first = bench.run(batch_size=1, max_retries=1)
    assert isinstance(first.error, ApiError)
    assert first.messages[-1]["type"] == "STATE"
    assert list(first.bookmark["emitted"]) == [str(record_id) for record_id in first.ids]

    bench.world.faults.clear()
    second = bench.read(batch_size=1, state=first.state)
    assert first.ids + second.ids == list(bench.ledger)


def test_a_state_that_is_refused_is_not_spoilt(bench: Bench) -> None:
    bookmark = {"replication_key_value": "15/01/2025", "emitted": {"7": None}, "read_by": "id"}

    run = bench.run(state={"bookmarks": {STREAM: bookmark}})

    assert run.bookmark == bookmark


def test_the_state_follows_the_records_it_covers(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "STATE_EVERY", 10)
    bench = make_bench(100)

    run = bench.read()

    written: set[str] = set()
    for message in run.messages:
        if message["type"] == "RECORD":
            written.add(str(message["record"]["Id"]))
        elif message["type"] == "STATE" and STREAM in message["value"].get("bookmarks", {}):
            assert message["value"]["bookmarks"][STREAM]["emitted"].keys() == written
    # After 10, 20, 40 and 80 records, and at the end.
    assert len(run.states) == 5


def test_a_run_without_news_ends_with_its_state(bench: Bench) -> None:
    first = bench.read()

    second = bench.read(state=first.state)

    assert [message["type"] for message in second.messages] == ["STATE", "SCHEMA", "STATE"]
    assert second.state == first.state


@pytest.mark.wide
def test_states_of_twenty_thousand_ids_stay_small(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(20_000)
    config = bench.settings()

    first, first_memory = run_measured(config)
    Path("state.json").write_text(json.dumps(first.run.state), encoding="utf-8")
    second, second_memory = run_measured(config, "--state", "state.json")

    assert len(first.run.ids) == 20_000
    assert second.run.ids == []
    assert max(first_memory, second_memory) < 200
    for finished in (first, second):
        lines = finished.stdout.splitlines()
        assert sum(len(line) for line in lines if '"STATE"' in line) < 700_000


class Process:
    """The tap as a process under way."""

    def __init__(self, config: dict[str, object]) -> None:
        Path("config.json").write_text(json.dumps(config), encoding="utf-8")
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tap_nexudus_usage", "--config", "config.json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> Finished:
        stdout, stderr = self.popen.communicate(timeout=LONGEST_WAIT)
        return Finished(self.popen.returncode, stdout, stderr)


@pytest.mark.crossing
@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
@pytest.mark.parametrize("kind", ["hang", "throttle", "busy"])
def test_a_signal_ends_the_run_with_its_state(
    make_bench: Callable[..., Bench], signum: int, code: int, kind: str
) -> None:
    bench = make_bench(3_000, latency=0.002)
    faults = {
        "hang": [Fault("hang", endpoints=("one",), skip=50, times=None)],
        "throttle": [Fault(status=409, headers={"Retry-After": "900"}, skip=50, times=None)],
        "busy": [],
    }
    bench.world.faults += faults[kind]
    # Whatever is under way would last longer than this test waits.
    process = Process(bench.settings(batch_size=1, request_timeout=600))
    wait_until(lambda: len(bench.world.calls) >= 50)

    process.popen.send_signal(signum)
    finished = process.finish()

    assert finished.code == code
    assert f"Stopped by SIG{'TERM' if code == 143 else 'INT'}" in finished.last_line
    assert finished.run.messages[-1]["type"] == "STATE"
    assert list(finished.run.bookmark["emitted"]) == [str(i) for i in finished.run.ids]
    resumed = bench.read(state=finished.run.state) if kind == "busy" else None
    if resumed is not None:
        assert finished.run.ids + resumed.ids == list(bench.ledger)


def test_a_second_signal_ends_the_process_at_once(make_bench: Callable[..., Bench]) -> None:
    # A pipe that is full and read by nobody keeps the first signal from being seen to.
    bench = make_bench(3_000)
    process = Process(bench.settings())
    assert process.popen.stdout is not None
    pipe = process.popen.stdout.fileno()
    wait_until(lambda: is_full(pipe))
    process.popen.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.popen.wait(timeout=0.5)

    def has_ended() -> bool:
        # One that comes before the first was seen to counts as the same.
        process.popen.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        return process.popen.poll() is not None

    wait_until(has_ended)
    assert process.popen.returncode == 143
    process.finish()


def test_a_reader_that_goes_away_is_told(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(3_000)
    process = Process(bench.settings())
    assert process.popen.stdout is not None
    process.popen.stdout.readline()
    process.popen.stdout.close()

    _, stderr = process.popen.communicate(timeout=LONGEST_WAIT)

    assert process.popen.returncode == 1
    assert "The target stopped reading" in stderr.strip().splitlines()[-1]
    assert "Traceback" not in stderr


def test_an_interrupted_process_leaves_no_half_line(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(1_000)
    read, write = os.pipe()
    Path("config.json").write_text(json.dumps(bench.settings()), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "tap_nexudus_usage", "--config", "config.json"],
        stdout=write,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    chunks: list[bytes] = []
    with os.fdopen(read, "rb") as pipe:
        chunks.append(pipe.read(4_096))
        process.send_signal(signal.SIGTERM)
        reader = threading.Thread(target=lambda: chunks.append(pipe.read()), daemon=True)
        reader.start()
        process.wait(LONGEST_WAIT)
        reader.join(LONGEST_WAIT)
        assert not reader.is_alive()
    for line in b"".join(chunks).splitlines():
        json.loads(line)


def test_exit_code_zero_only_when_all_was_read(bench: Bench) -> None:
    good = run_tap_with(bench.settings())
    assert good.code == 0
    assert good.run.ids == list(bench.ledger)

    ids = [*bench.ledger, 5]
    bad = run_tap_with(bench.settings(record_ids=ids, on_missing_record="fail"))
    assert bad.code == 1
    assert bad.run.ids == list(bench.ledger)


@pytest.mark.parametrize("emitted", [5, "x", [1], None, True])
@pytest.mark.parametrize("stream", [ALLOWANCES.stream, "another_taps"])
def test_the_bookmark_of_a_stream_that_is_not_read_is_passed_on_whatever_it_is(
    bench: Bench, stream: str, emitted: Any
) -> None:
    run = bench.read(state={"bookmarks": {stream: {"emitted": emitted}}})

    assert run.ids == list(bench.ledger)
    assert run.state["bookmarks"][stream] == {"emitted": emitted}
