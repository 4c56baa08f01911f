"""The runs that are shown as on a terminal: the demo, and a read while it is under way."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from tap_nexudus_usage.nexudus.entities import ALLOWANCES
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World
from tools.pictures.tapping import tap_command

PROJECT = Path(__file__).parents[2]
COLUMNS = 120

COMMAND = "$ tap-nexudus-usage --config config.json --catalog catalog.json > usage.jsonl"
QUIET = {"TAP_NEXUDUS_USAGE_LOGLEVEL": "WARNING", "PYTHONWARNINGS": "ignore"}
"""Else above the bar stand the metrics of each call, and until when the SDK takes an old Python."""

LONGEST = 300.0
"""Seconds."""


def demo() -> str:
    """What the demo writes, from its first run on."""
    finished = subprocess.run(
        [sys.executable, "demo/demo.py"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )
    return of_demo(finished.stdout)


def of_demo(output: str) -> str:
    """The part of the demo's output that is shown."""
    _, begin, rest = output.partition("== meltano run ")
    return f"{begin}{rest.partition('== Done')[0]}".strip() + "\n"


def progress(records: int = 4_000, until: str = rf"{ALLOWANCES.stream}: +[5-9]\d%") -> str:
    """What a terminal has got of a read by Id of both streams, once `until` matches in it."""
    ledger, allowances = tenant_tables(records, records // 2)
    world = World(ledger, {ALLOWANCES: allowances}, latency=0.05)
    with tempfile.TemporaryDirectory() as name, Sandbox(world) as sandbox:
        folder = Path(name)
        settings = {"record_ids": [*ledger], "batch_size": 50}
        command = tap_command(folder, sandbox, **settings)
        return f"{COMMAND}\n{_on_a_terminal(command, folder, until)}"


def _on_a_terminal(command: list[str], folder: Path, until: str) -> str:
    """What comes on a terminal until a pattern is found in it; the command is ended then."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    env = {**os.environ, **QUIET}
    deadline = time.monotonic() + LONGEST
    shown = b""
    with (folder / "usage.jsonl").open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=its)
    try:
        while not re.search(until, whole_frames(shown)):
            if not select.select([ours], [], [], max(deadline - time.monotonic(), 0))[0]:
                message = f"No {until!r} came on the terminal within {LONGEST} s: {shown.decode()}"
                raise TimeoutError(message)
            shown += os.read(ours, 65_536)
    finally:
        process.kill()
        process.wait(LONGEST)
        os.close(ours)
        os.close(its)
    return whole_frames(shown)


def whole_frames(shown: bytes) -> str:
    """All but the last frame of a bar, of which the end may be missing."""
    return shown[: shown.rfind(b"\r") + 1].rstrip(b"\r").decode()
