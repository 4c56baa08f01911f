"""Runs the tap into a target as a runner would: two processes, a pipe, and the state kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from conftest import Bench
from outcomes import STREAM
from waiting import wait_until

from tap_nexudus_usage.nexudus.entities import LEDGER, Entity
from tap_nexudus_usage.singer.tap import TapNexudusUsage
from warehouses.warehouse import Row, Warehouse

TIMEOUT = 180.0
"""Seconds for one run."""


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        written: what the tap wrote into the pipe, by stream, in that order.
        state: the last STATE that the target emitted, if any.
    """

    tap_code: int
    written: Mapping[str, list[Row]]
    state: dict[str, Any] | None

    def of(self, entity: Entity) -> list[Row]:
        """The records of an entity."""
        return self.written.get(entity.stream, [])

    def ids_of(self, entity: Entity) -> list[int]:
        """The Ids of an entity's records."""
        return [record["Id"] for record in self.of(entity)]

    @property
    def records(self) -> list[Row]:
        """The ledger's."""
        return self.of(LEDGER)

    @property
    def ids(self) -> list[int]:
        """The Ids of the ledger's records."""
        return self.ids_of(LEDGER)


class Pipeline:
    """One tap, one target, and the state in between."""

    def __init__(
        self,
        bench: Bench,
        warehouse: Warehouse,
        folder: Path,
        entities: Sequence[Entity] = (LEDGER,),
    ) -> None:
        """Keep config, state, what went through the pipe, and the logs in `folder`.

        `entities` are those that are selected, unless a catalog is given.
        """
        self._bench = bench
        self._warehouse = warehouse
        self._folder = folder
        self._entities = entities
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
        """Run to the end, or until so many of the ledger's records went through.

        The tap is then terminated.
        """
        options = {
            "config": self._bench.settings(**settings),
            "catalog": given_catalog or catalog(method, self._entities),
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
                    lambda: (
                        len(self._written()[STREAM]) >= terminate_after or tap.poll() is not None
                    )
                )
                tap.send_signal(signal.SIGTERM)
            code = tap.wait(TIMEOUT)
            assert target.wait(TIMEOUT) == 0, self._log("target")
        assert terminate_after is not None or code == 0, self._log("tap")
        return Run(code, self._written(), self._keep_state())

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

    def _written(self) -> dict[str, list[Row]]:
        """What is in the pipe, or went through; a line that is still being written is left out."""
        written: dict[str, list[Row]] = defaultdict(list)
        if not self._messages.exists():
            return written
        lines = self._messages.read_bytes().splitlines(keepends=True)
        for message in (json.loads(line) for line in lines if line.endswith(b"\n")):
            if message["type"] == "RECORD":
                written[message["stream"]].append(message["record"])
        return written

    def _keep_state(self) -> dict[str, Any] | None:
        lines = self._states.read_text(encoding="utf-8").splitlines()
        if not lines:
            return None
        self._state = json.loads(lines[-1])
        return self._state


def catalog(method: str, entities: Sequence[Entity] = (LEDGER,)) -> dict[str, Any]:
    """The tap's catalog, with a replication method, and the streams of these entities selected."""
    found: dict[str, Any] = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)
    selected = {entity.stream for entity in entities}
    for stream in found["streams"]:
        stream["replication_method"] = method
        (of_stream,) = (
            entry["metadata"] for entry in stream["metadata"] if not entry["breadcrumb"]
        )
        of_stream["selected"] = stream["tap_stream_id"] in selected
    return found
