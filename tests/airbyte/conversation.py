"""What the source says, each line judged by Airbyte's own models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from airbyte_protocol.models import AirbyteMessage
from conftest import Bench, FastTap, shared_tap_server
from outcomes import STREAM
from tap_server import Order

CURSOR, DELETED = "_ab_cdc_cursor", "_ab_cdc_deleted_at"
OWN = {CURSOR, DELETED}


@dataclass
class Said:
    """The messages of a command, and how it ended."""

    code: int
    stderr: str
    messages: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages of a type."""
        return [message for message in self.messages if message["type"] == kind]

    def rows(self, stream: str = STREAM) -> list[dict[str, Any]]:
        """The data of a stream's records."""
        records = (message["record"] for message in self.of("RECORD"))
        return [record["data"] for record in records if record["stream"] == stream]

    def ids(self, stream: str = STREAM) -> list[int]:
        return [row["Id"] for row in self.rows(stream)]

    def states(self, stream: str = STREAM) -> list[dict[str, Any]]:
        """What the states of a stream hold."""
        states = (message["state"]["stream"] for message in self.of("STATE"))
        return [
            state["stream_state"]
            for state in states
            if state["stream_descriptor"]["name"] == stream
        ]

    @property
    def state(self) -> list[dict[str, Any]]:
        """What a client hands over the next time: the last state of each stream."""
        last = {
            message["state"]["stream"]["stream_descriptor"]["name"]: message["state"]
            for message in self.of("STATE")
        }
        return [*last.values()]

    @property
    def errors(self) -> list[dict[str, Any]]:
        traces = (message["trace"] for message in self.of("TRACE"))
        return [trace["error"] for trace in traces if trace["type"] == "ERROR"]

    def statuses(self, stream: str = STREAM) -> list[str]:
        traces = (message["trace"] for message in self.of("TRACE"))
        told = (trace["stream_status"] for trace in traces if trace["type"] == "STREAM_STATUS")
        return [one["status"] for one in told if one["stream_descriptor"]["name"] == stream]

    @property
    def logs(self) -> str:
        return "\n".join(message["log"]["message"] for message in self.of("LOG"))


def parsed(stdout: str) -> list[dict[str, Any]]:
    """The messages; each line has to be one of the protocol, with nothing unknown in it."""
    messages = []
    for line in stdout.splitlines():
        message = json.loads(line, parse_float=Decimal)
        AirbyteMessage.model_validate_json(line)
        assert not _unknown(AirbyteMessage.model_validate_json(line)), line[:300]
        messages.append(message)
    return messages


def _unknown(model: Any) -> dict[str, Any]:
    """What the models take without knowing it; data, states and configs are anybody's."""
    extra = dict(getattr(model, "model_extra", None) or {})
    if type(model).__name__ == "AirbyteStateBlob":
        return {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        for one in value if isinstance(value, list) else [value]:
            if hasattr(type(one), "model_fields"):
                extra |= _unknown(one)
    return extra


class Source:
    """The source, configured for a sandbox."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def config(self, **settings: Any) -> dict[str, Any]:
        """A config as a form would make it; None removes a setting."""
        flat = self.bench.settings(**settings)
        login = ("username", "password", "totp_secret", "refresh_token", "access_token")
        ways = [name for name in ("password", "refresh_token", "access_token") if name in flat]
        credentials = {name: flat.pop(name) for name in login if name in flat}
        return {"credentials": {"auth_type": [*ways, "password"][0], **credentials}, **flat}

    def run(self, command: str, *files: str, config: Any = None, **more: Any) -> Said:
        """Run a command; `files` are further options."""
        Path("source.json").write_text(json.dumps(config), encoding="utf-8")
        args = [command, "--config", "source.json", *files]
        return say(args, **more)

    def check(self, **settings: Any) -> Said:
        return self.run("check", config=self.config(**settings))

    def read(self, *streams: str, **what: Any) -> Said:
        """Read, by what `prepare` is told."""
        self.prepare(*streams, **what)
        return say(READ)

    def prepare(
        self,
        *streams: str,
        state: Any = None,
        mode: str = "incremental",
        fields: Sequence[str] | None = None,
        catalog: Any = None,
        **settings: Any,
    ) -> None:
        """Write the files that `READ` names, for the ledger unless told otherwise."""
        catalog = catalog or configured(*(streams or (STREAM,)), mode=mode, fields=fields)
        contents = {
            "source": self.config(**settings),
            "catalog": catalog,
            "state": [] if state is None else state,
        }
        for name, content in contents.items():
            Path(f"{name}.json").write_text(json.dumps(content, default=float), encoding="utf-8")


READ = ["read", "--config", "source.json", "--catalog", "catalog.json", "--state", "state.json"]


def say(args: Sequence[str], **more: Any) -> Said:
    """Run a command line."""
    order = Order(args, protocol="airbyte", clock_speed=FastTap.clock_speed, **more)
    finished = shared_tap_server().run(order)
    return Said(finished.code, finished.stderr, parsed(finished.stdout))


def discovered() -> list[dict[str, Any]]:
    (message,) = say(["discover", "--config", "nothing.json"]).of("CATALOG")
    return list(message["catalog"]["streams"])


def configured(
    *streams: str, mode: str = "incremental", fields: Sequence[str] | None = None
) -> dict[str, Any]:
    """A configured catalog."""
    chosen = [stream for stream in discovered() if stream["name"] in streams]
    for stream in chosen:
        if fields is not None:
            properties = stream["json_schema"]["properties"]
            stream["json_schema"]["properties"] = {name: properties[name] for name in fields}
    return {
        "streams": [
            {
                "stream": stream,
                "sync_mode": mode,
                "destination_sync_mode": "append_dedup",
                "cursor_field": [CURSOR],
                "primary_key": [["Id"]],
                "generation_id": 1,
                "minimum_generation_id": 0,
                "sync_id": 1,
            }
            for stream in chosen
        ]
    }
