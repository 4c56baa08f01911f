"""Runs the tap into a target as a runner would: two processes, a pipe, and the state kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from conftest import Bench

from tap_nexudus_usage.singer.tap import TapNexudusUsage
from warehouses.warehouse import Warehouse

TIMEOUT = 180.0
"""Seconds for one run."""


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        records: what the tap wrote into the pipe, in that order.
        state: the last STATE that the target emitted, if any.
    """

    tap_code: int
    records: list[dict[str, Any]]
    state: dict[str, Any] | None

    @property
    def ids(self) -> list[int]:
        """The Ids of the records, in the order written."""
        return [record["Id"] for record in self.records]


class Pipeline:
    """One tap, one target, and the state in between."""

    def __init__(self, bench: Bench, warehouse: Warehouse, folder: Path) -> None:
        """Keep config, state, what went through the pipe, and the logs in `folder`."""
        self._bench = bench
        self._warehouse = warehouse
        self._folder = folder
        self._state: dict[str, Any] = {}
        self._messages = folder / "messages.jsonl"
        self._states = folder / "states.jsonl"

    def run(
        self,
        *,
        method: str = "INCREMENTAL",
        given_catalog: dict[str, Any] | None = None,
        terminate_after: int | None = None,
        **settings: Any,
    ) -> Run:
        """Run to the end, or until so many records went through: the tap is then terminated."""
        options = {
            "config": self._bench.settings(**settings),
            "catalog": given_catalog or catalog(method),
            "state": self._state,
        }
        command = [sys.executable, "-m", "tap_nexudus_usage"]
        for name, content in options.items():
            (self._folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
            command += [f"--{name}", f"{name}.json"]
        self._messages.unlink(missing_ok=True)
        with ExitStack() as stack:
            start = partial(self._start, stack)
            tap = start("tap", command, None, subprocess.PIPE)
            tee = start("tee", ["tee", self._messages], tap.stdout, subprocess.PIPE)
            states = stack.enter_context(self._states.open("w", encoding="utf-8"))
            target = start("target", self._warehouse.target, tee.stdout, states)
            for process in (tap, tee):
                # The next process's now: who writes has to notice when the reader has gone.
                assert process.stdout is not None
                process.stdout.close()
            if terminate_after is not None:
                wait_until(
                    lambda: len(self._records()) >= terminate_after or tap.poll() is not None
                )
                tap.send_signal(signal.SIGTERM)
            code = tap.wait(TIMEOUT)
            assert target.wait(TIMEOUT) == 0, self._log("target")
        assert terminate_after is not None or code == 0, self._log("tap")
        return Run(code, self._records(), self._keep_state())

    def _start(
        self,
        stack: ExitStack,
        name: str,
        command: Sequence[str | Path],
        stdin: IO[str] | None,
        stdout: int | IO[str],
    ) -> subprocess.Popen[str]:
        """Start a process that doesn't outlive `stack`."""
        log = stack.enter_context((self._folder / f"{name}.log").open("w", encoding="utf-8"))
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=log,
                text=True,
                cwd=self._folder,
                env=self._warehouse.environment,
            )
        )
        stack.callback(process.kill)
        return process

    def _log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(encoding="utf-8")[-5_000:]

    def _records(self) -> list[dict[str, Any]]:
        """What is in the pipe, or went through; a line that is still being written is left out."""
        if not self._messages.exists():
            return []
        lines = self._messages.read_bytes().splitlines(keepends=True)
        messages = (json.loads(line) for line in lines if line.endswith(b"\n"))
        return [message["record"] for message in messages if message["type"] == "RECORD"]

    def _keep_state(self) -> dict[str, Any] | None:
        lines = self._states.read_text(encoding="utf-8").splitlines()
        if not lines:
            return None
        self._state = json.loads(lines[-1])
        return self._state


def catalog(method: str) -> dict[str, Any]:
    """The tap's catalog, with a replication method."""
    found: dict[str, Any] = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)
    found["streams"][0]["replication_method"] = method
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline, "It didn't happen in time"
        time.sleep(0.05)
