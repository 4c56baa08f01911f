"""What was measured, ready for JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from bench.pace import Paced

PACKAGES = ("tap-nexudus-usage", "singer-sdk", "requests", "msgspec")


@dataclass(frozen=True)
class Sample:
    """One run.

    Attributes:
        wall: seconds from start to end of the process.
        cpu: seconds of CPU, user and system.
        peak: MiB of memory, at the most.
        calls: to the API, the login's and those throttled among them.
        connections: opened for them.
        state: bytes of all STATE lines together.
        last_state: bytes of the last of them.
        limit_share: of the wall time, what the published limits would take for as many calls, were
            there nothing else; 0 without throttle.
        pace: the API's seconds from the first call let through to the last; 0 without throttle.
        least_pace: the least that the published limits allow for that.
    """

    wall: float
    cpu: float
    peak: float
    calls: float = 0
    throttled: float = 0
    connections: float = 0
    state: float = 0
    last_state: float = 0
    limit_share: float = 0
    pace: float = 0
    least_pace: float = 0


COLUMNS = tuple(column.name for column in fields(Sample))


@dataclass
class Runs:
    """A contender's runs of a workload, or why there are none.

    Attributes:
        ratios: of wall and CPU, to the floor's.
        allowance: of the last run, see `allowance.shares_used`.
    """

    name: str
    why_none: str | None = None
    samples: list[Sample] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    allowance: list[float] = field(default_factory=list)

    @property
    def is_paced(self) -> bool:
        """Whether there were limits to keep."""
        return any(sample.pace for sample in self.samples)

    @property
    def median(self) -> Sample:
        """Of each column by itself."""
        return Sample(
            **{name: median(getattr(sample, name) for sample in self.samples) for name in COLUMNS}
        )


@dataclass(frozen=True)
class Alone:
    """What the sandbox serves to a client that does nothing with it."""

    calls_per_second: float
    records_per_second: float
    share_of_floor: float
    """Of the floor's seconds, those that the sandbox alone takes for the same."""


@dataclass
class Result:
    """A workload's."""

    name: str
    records: int
    by: str
    contenders: list[Runs]
    sandbox: Alone | None = None


@dataclass
class Results:
    """All of a bench."""

    machine: dict[str, Any]
    workloads: list[Result] = field(default_factory=list)
    start_up: list[Runs] = field(default_factory=list)
    paced: list[Paced] = field(default_factory=list)


def set_ratios(runs: Sequence[Runs]) -> None:
    """Compare all contenders to the floor."""
    (floor,) = (contender.median for contender in runs if contender.name == "floor")
    for contender in runs:
        if contender.samples:
            mine = contender.median
            contender.ratios = {"wall": mine.wall / floor.wall, "cpu": mine.cpu / floor.cpu}


def as_json(results: Results) -> dict[str, Any]:
    """The results with their medians, rounded to what they are worth."""
    workloads = [
        {**asdict(result), "contenders": [_runs_as_json(runs) for runs in result.contenders]}
        for result in results.workloads
    ]
    start_up = [_runs_as_json(runs) for runs in results.start_up]
    rounded: dict[str, Any] = _rounded(
        {
            "machine": results.machine,
            "workloads": workloads,
            "start_up": start_up,
            "paced": [asdict(paced) for paced in results.paced],
        }
    )
    return rounded


def _runs_as_json(runs: Runs) -> dict[str, Any]:
    return {**asdict(runs), "median": asdict(runs.median) if runs.samples else None}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def machine() -> dict[str, Any]:
    """Where and with what it was measured."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "date": datetime.now(timezone.utc).date().isoformat(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _cpu_model() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())
