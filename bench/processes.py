"""Whole processes, measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
LAUNCHER = Path(__file__).with_name("launcher.py")


LONGEST_RUN = 1_800.0
"""Seconds after which a contender is taken for one that never ends."""


class BenchError(Exception):
    """A run that can't be counted; the message says why."""


@dataclass(frozen=True)
class Took:
    """What a process took: seconds on the clock, seconds of CPU, peak MiB."""

    wall: float
    cpu: float
    peak: float


def run(command: Sequence[str], stdout: Path, **variables: str) -> Took:
    """Run a command, an absolute path first, its output into a file; raises BenchError.

    `variables` are added to the environment.
    """
    stderr = stdout.with_suffix(".log")
    with subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER, stdout, stderr, *command],
        cwd=PROJECT,
        env={**_environment(), **variables},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as launcher:
        try:
            measured, _ = launcher.communicate(timeout=LONGEST_RUN)
        except BaseException as error:
            # The launcher alone would leave behind what it has launched.
            os.killpg(launcher.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"{' '.join(command)} took longer than {LONGEST_RUN:.0f} s"
                raise BenchError(message) from error
            raise
    if launcher.returncode:
        raise subprocess.CalledProcessError(launcher.returncode, launcher.args)
    took = json.loads(measured)
    if code := took.pop("code"):
        last_lines = "\n".join(stderr.read_text(encoding="utf-8").splitlines()[-5:])
        message = f"{' '.join(command)} ended with {code}:\n{last_lines}"
        raise BenchError(message)
    return Took(**took)


def _environment() -> dict[str, str]:
    """This process's, without what would set a tap's settings or lead calls to a proxy.

    Nor what concerns Python: without bytecode, say, each start would compile the tap.
    """
    ours = ("TAP_", "LOGLEVEL", "SINGER_SDK_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "NO_PROXY": "127.0.0.1"}
