"""Runs the contenders of a workload in turns, and counts only runs whose output is right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.allowance import least_seconds, seconds_taken, shares_used
from bench.checking import Expected, check, expect, last_state
from bench.processes import run
from bench.results import Alone, Result, Runs, Sample, set_ratios
from bench.server import Server, serve
from bench.workloads import CONTENDERS, Contender, Workload
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER
from tap_nexudus_usage.sandbox.tokens import User

START_UP: Mapping[str, Sequence[str]] = {
    "tap --version": ("-m", "tap_nexudus_usage", "--version"),
    "tap --discover": ("-m", "tap_nexudus_usage", "--discover"),
    "source spec": ("-m", "tap_nexudus_usage.airbyte.cli", "spec"),
    'python -c "import singer_sdk"': ("-c", "import singer_sdk"),
}


@dataclass(frozen=True)
class Arena:
    """What the contenders of one workload share."""

    workload: Workload
    server: Server
    folder: Path
    python: str

    def run(self, contender: Contender, expected: Expected, state: Path | None) -> Sample:
        """One run; raises BenchError if it fails, or writes anything but what is expected."""
        output = self.folder / f"{contender}.jsonl"
        self.server.forget_calls()
        command = [*self._command(contender), *(["--state", str(state)] if state else [])]
        took = run(command, output, **self.server.variables)
        states = check(output, expected)
        calls = self.server.count_calls()
        sample = Sample(
            took.wall,
            took.cpu,
            took.peak,
            calls=calls["all"],
            throttled=calls["throttled"],
            connections=calls["connections"],
            state=len(states),
            last_state=len(states.splitlines()[-1]),
        )
        return sample if self.workload.time_scale is None else self._with_pace(sample)

    def _with_pace(self, sample: Sample) -> Sample:
        """The same, beside what the published limits allow."""
        least = least_seconds(int(sample.calls - sample.throttled))
        return replace(
            sample,
            limit_share=least * (self.workload.time_scale or 0) / sample.wall,
            pace=seconds_taken(self.server.calls()),
            least_pace=least,
        )

    def first_state(self, contender: Contender, expected: Expected) -> Path:
        """The state that a first run, which isn't counted, leaves."""
        self.run(contender, expected, None)
        state = self.folder / f"{contender}.state.json"
        output = (self.folder / f"{contender}.jsonl").read_bytes()
        lines = [line for line in output.splitlines() if b'"STATE"' in line[:40]]
        state.write_text(last_state(lines), encoding="utf-8")
        return state

    def sandbox_alone(self) -> tuple[int, float]:
        """Calls and seconds of a client that does nothing with what it gets."""
        output = self.folder / "bare.json"
        config = str(self.folder / "others.json")
        run([self.python, "-m", "bench.bare_client", "--config", config], output)
        told = json.loads(output.read_text(encoding="utf-8"))
        return told["calls"], told["seconds"]

    def write_configs(self, ids: Sequence[int]) -> None:
        """Write the tap's config, and the others', who have to know the sandbox's time scale."""
        workload = self.workload
        config: dict[str, Any] = {
            "username": User.username,
            "password": User.password,
            "api_url": self.server.url,
            "batch_size": workload.batch_size,
            "requests_per_minute": 0 if workload.time_scale is None else 120,
        }
        if workload.by == "id":
            config["record_ids"] = list(ids)
        others = {
            **config,
            "time_scale": workload.time_scale or 1.0,
            "with_allowances": workload.allowances is not None,
        }
        for name, content in {"tap": config, "others": others}.items():
            (self.folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def write_airbyte_catalog(self) -> None:
        """Write the configured catalog of the source."""
        entities = ENTITIES if self.workload.allowances is not None else (LEDGER,)
        streams = [
            {"stream": {"name": entity.stream}, "sync_mode": "incremental"} for entity in entities
        ]
        self._airbyte_catalog.write_text(json.dumps({"streams": streams}), encoding="utf-8")

    def write_catalog(self) -> None:
        """Write the catalog that discovery gives, with all streams selected."""
        file = self._catalog
        run([self.python, "-m", "tap_nexudus_usage", "--discover"], file)
        catalog = json.loads(file.read_text(encoding="utf-8"))
        for stream in catalog["streams"]:
            (root,) = (item for item in stream["metadata"] if not item["breadcrumb"])
            root["metadata"]["selected"] = True
        file.write_text(json.dumps(catalog), encoding="utf-8")

    @property
    def _catalog(self) -> Path:
        return self.folder / "catalog.json"

    @property
    def _airbyte_catalog(self) -> Path:
        return self.folder / "configured_catalog.json"

    def _command(self, contender: Contender) -> list[str]:
        scale = self.workload.time_scale
        is_scaled = scale is not None and scale != 1
        tap = ["bench.scaled_tap", str(1 / (scale or 1))] if is_scaled else ["tap_nexudus_usage"]
        modules: Mapping[Contender, Sequence[str]] = {
            "tap": tap,
            "airbyte": ["tap_nexudus_usage.airbyte.cli", "read"],
            "floor": ["bench.floor"],
            "by-the-book": ["bench.by_the_book"],
        }
        is_ours = contender in {"tap", "airbyte"}
        config = self.folder / ("tap.json" if is_ours else "others.json")
        command = [self.python, "-m", *modules[contender], "--config", str(config)]
        if contender == "tap" and self.workload.allowances is not None:
            command += ["--catalog", str(self._catalog)]
        if contender == "airbyte":
            command += ["--catalog", str(self._airbyte_catalog)]
        return command


def measure(workload: Workload, *, python: str, repeat: int, folder: Path) -> Result:
    """Run all contenders `repeat` times, in turns, by `python`; raises BenchError."""
    why_not = {contender: workload.why_not(contender) for contender in CONTENDERS}
    runs = {contender: Runs(contender, why) for contender, why in why_not.items()}
    running = [contender for contender, why in why_not.items() if why is None]
    with serve(workload, folder) as server:
        arena = Arena(workload, server, folder, python)
        arena.write_airbyte_catalog()
        if workload.allowances is not None:
            arena.write_catalog()
            if workload.by == "id":
                server.let_none_be_gone()
        expected = _all(workload, server)
        ids = list(expected[LEDGER.stream])
        arena.write_configs(ids)
        states: dict[Contender, Path | None] = dict.fromkeys(running)
        if workload.changes is not None:
            states = {contender: arena.first_state(contender, expected) for contender in running}
            expected = {LEDGER.stream: expect(LEDGER, _changed(workload.changes, server, ids))}
        for _ in range(1 if workload.once else repeat):
            for contender in running:
                runs[contender].samples.append(arena.run(contender, expected, states[contender]))
                if workload.time_scale is not None:
                    runs[contender].allowance = shares_used(server.calls())
        set_ratios(list(runs.values()))
        result = Result(workload.name, workload.records, workload.by, list(runs.values()))
        if workload.is_about_cpu and workload.changes is None and workload.allowances is None:
            calls, seconds = arena.sandbox_alone()
            share = seconds / runs["floor"].median.wall
            result.sandbox = Alone(calls / seconds, workload.records / seconds, share)
    return result


def _changed(count: int, server: Server, ids: Sequence[int]) -> Sequence[bytes]:
    """Change so many records; what they are then."""
    if count == len(ids):
        server.change_all()
        return server.records(LEDGER)
    chosen = ids[:: len(ids) // max(count, 1)][:count]
    return [server.change(record_id, CreditUsed=999) for record_id in chosen]


def _all(workload: Workload, server: Server) -> Expected:
    """What a first read brings."""
    expected = {LEDGER.stream: expect(LEDGER, server.records(LEDGER))}
    if workload.allowances is not None:
        allowances = expect(ALLOWANCES, server.records(ALLOWANCES))
        read = server.named().values() if workload.by == "id" else allowances
        expected[ALLOWANCES.stream] = {record_id: allowances[record_id] for record_id in read}
    return expected


def measure_start_up(*, python: str, repeat: int, folder: Path) -> list[Runs]:
    """The commands that read nothing, in turns."""
    runs = {name: Runs(name) for name in START_UP}
    for _ in range(repeat):
        for name, command in START_UP.items():
            took = run([python, *command], folder / "start_up.out")
            runs[name].samples.append(Sample(took.wall, took.cpu, took.peak))
    return list(runs.values())
