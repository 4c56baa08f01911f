"""What a run says while it is under way."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Bench, run_tap_with

from tap_nexudus_usage.clock import Clock
from tap_nexudus_usage.nexudus import connection
from tap_nexudus_usage.run import progress
from tap_nexudus_usage.sandbox.faults import Fault


def test_a_line_comes_from_time_to_time(
    make_bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.05)
    caplog.set_level(logging.INFO)
    bench = make_bench(60, latency=0.01)

    bench.read(batch_size=1, max_concurrent_requests=1)

    lines = [r.message for r in caplog.records if r.name == progress.__name__]
    assert len(lines) >= 3
    assert "of 60 Ids read" in lines[0]
    assert any("s left" in line for line in lines)
    assert "60 records emitted, 60 of 60 Ids read; 61 calls" in lines[-1]


def test_a_line_comes_while_nothing_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.05)
    caplog.set_level(logging.INFO)
    bench.world.faults.append(Fault("hang", seconds=0.5, endpoints=("many",)))

    bench.read()

    assert "0 of 20 Ids read, 1 calls" in caplog.text or "0 of 20 Ids read, 2 calls" in caplog.text


def test_a_wait_for_the_throttle_says_how_long_and_why(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.world.faults.append(Fault(status=409, headers={"Retry-After": "45"}, endpoints=("many",)))

    bench.read()

    assert (
        "Waiting 45 s for the API's throttle: HTTP 409, Retry-After asks for it" in caplog.messages
    )


class WaitedClock(Clock):
    """Time that passes by waits only, however slow the machine is."""

    def __init__(self, _: float) -> None:
        super().__init__()
        self._waited = 0.0

    def now(self) -> float:
        return self._waited

    def wait(self, seconds: float) -> None:
        super().wait(0)
        self._waited += seconds


def test_a_wait_for_the_pace_says_how_long_and_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "Clock", WaitedClock)
    caplog.set_level(logging.INFO)

    bench.read(batch_size=1, requests_per_minute=10, max_concurrent_requests=1)

    # Ten calls, 100 ms or a little more between each two, leave about 59 s of the minute.
    waits = [m for m in caplog.messages if "calls in 60 s allowed" in m]
    assert re.match(r"Waiting (58|59) s for the API's throttle: 10 calls in 60 s allowed", waits[0])


def test_a_terminal_gets_a_bar(bench: Bench) -> None:
    config = bench.settings()
    run_tap_with(config)  # writes the config file
    read, write = pty.openpty()
    fcntl.ioctl(write, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    shown = bytearray()

    def watch() -> None:
        try:
            while chunk := os.read(read, 1_024):
                shown.extend(chunk)
        except OSError:
            pass  # how a terminal ends on Linux

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with Path("out.jsonl").open("wb") as out:
        command = [sys.executable, "-m", "tap_nexudus_usage", "--config", "config.json"]
        finished = subprocess.run(command, stdout=out, stderr=write, check=False, timeout=120)
    os.close(write)
    watcher.join(60)
    assert not watcher.is_alive()
    os.close(read)

    assert finished.returncode == 0
    assert "20/20" in shown.decode()
    assert "20 records emitted" in shown.decode()
