"""What came of a run of the tap."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tap_nexudus_usage.singer.tap import TapNexudusUsage

STREAM = "coworker_extra_service_use_histories"


def catalog_of(*streams: str, method: str = "INCREMENTAL") -> dict[str, Any]:
    """A catalog that selects these streams."""
    tap = TapNexudusUsage(validate_config=False)
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    for entry in catalog["streams"]:
        entry["metadata"][-1]["metadata"]["selected"] = entry["stream"] in streams
        entry["replication_method"] = method
    return catalog


def merged(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """What Meltano keeps where a run that failed wrote the `newer` state."""
    both = {
        name: merged(older[name], value)
        if isinstance(value, dict) and isinstance(older.get(name), dict)
        else value
        for name, value in newer.items()
    }
    return {**older, **both}


@dataclass
class Run:
    """What a run of the tap wrote, and what it raised."""

    messages: list[dict[str, Any]]
    error: BaseException | None = None
    lines: list[bytes] = field(default_factory=list)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [message["record"] for message in self.messages if message["type"] == "RECORD"]

    @property
    def ids(self) -> list[int]:
        return [record["Id"] for record in self.records]

    @property
    def states(self) -> list[dict[str, Any]]:
        return [message["value"] for message in self.messages if message["type"] == "STATE"]

    @property
    def state(self) -> dict[str, Any]:
        return self.states[-1]

    @property
    def bookmark(self) -> dict[str, Any]:
        return self.state["bookmarks"][STREAM]


@dataclass
class Finished:
    """A process that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        return (self.stderr.strip().splitlines() or [""])[-1]

    @property
    def run(self) -> Run:
        return Run([json.loads(line) for line in self.stdout.splitlines()])
