"""Whole processes, measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
LAUNCHER = Path(__file__).with_name("launcher.py")


class BenchError(Exception):
    """A run that can't be counted; the message says why."""


@dataclass(frozen=True)
class Took:
    """What a process took: seconds on the clock, seconds of CPU, peak MiB."""

    wall: float
    cpu: float
    peak: float


def run(command: Sequence[str], stdout: Path) -> Took:
    """Run a command, an absolute path first, its output into a file; raises BenchError."""
    stderr = stdout.with_suffix(".log")
    launched = subprocess.run(
        [sys.executable, "-I", "-S", LAUNCHER, stdout, stderr, *command],
        cwd=PROJECT,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    took = json.loads(launched.stdout)
    if code := took.pop("code"):
        last_lines = "\n".join(stderr.read_text(encoding="utf-8").splitlines()[-5:])
        message = f"{' '.join(command)} ended with {code}:\n{last_lines}"
        raise BenchError(message)
    return Took(**took)


def _environment() -> dict[str, str]:
    """This process's, without what would set a tap's settings or lead calls to a proxy."""
    ours = ("TAP_", "LOGLEVEL", "SINGER_SDK_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "NO_PROXY": "127.0.0.1"}
