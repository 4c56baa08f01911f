"""The two protocols as the fault campaign sees them: how a run is ordered, and what came of it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from airbyte.conversation import CURSOR, DELETED, READ, configured, parsed
from outcomes import catalog_of
from typing_extensions import override

Message = dict[str, Any]


class Protocol(ABC):
    """A way to speak with the product."""

    name: Literal["singer", "airbyte"]

    @abstractmethod
    def prepare(
        self, config: dict[str, Any], states: Mapping[str, Any], streams: Sequence[str]
    ) -> list[str]:
        """Write the files of a run that reads `streams`, and give the arguments that name them."""

    @abstractmethod
    def messages(self, stdout: bytes) -> Iterator[Message]:
        """The RECORDs and STATEs in an output, of which the last line may be cut, as Singer's."""

    @abstractmethod
    def ends_in_words(self, stdout: bytes, last_line: str) -> bool:
        """Whether a failed run says why, as its last words."""


class Singer(Protocol):
    """The tap."""

    name = "singer"

    @override
    def prepare(
        self, config: dict[str, Any], states: Mapping[str, Any], streams: Sequence[str]
    ) -> list[str]:
        state = {"bookmarks": dict(states)} if states else {}
        files = {"config": config, "state": state, "catalog": catalog_of(*streams)}
        return _write(files)

    @override
    def messages(self, stdout: bytes) -> Iterator[Message]:
        for line in stdout.split(b"\n")[:-1]:
            message = json.loads(line, parse_float=Decimal)
            if message["type"] == "STATE":
                yield {"type": "STATE", "states": message["value"].get("bookmarks", {})}
            elif message["type"] == "RECORD":
                yield message

    @override
    def ends_in_words(self, stdout: bytes, last_line: str) -> bool:
        return "CRITICAL" in last_line


class Airbyte(Protocol):
    """The source."""

    name = "airbyte"

    @override
    def prepare(
        self, config: dict[str, Any], states: Mapping[str, Any], streams: Sequence[str]
    ) -> list[str]:
        state = [
            {
                "type": "STREAM",
                "stream": {"stream_descriptor": {"name": name}, "stream_state": stream},
            }
            for name, stream in states.items()
        ]
        _write({"source": config, "state": state, "catalog": configured(*streams)})
        return READ

    @override
    def messages(self, stdout: bytes) -> Iterator[Message]:
        whole = stdout[: stdout.rfind(b"\n") + 1].decode()
        cursor = 0
        for message in parsed(whole):
            if message["type"] == "RECORD":
                data = message["record"]["data"]
                assert data[CURSOR] > cursor
                cursor = data.pop(CURSOR)
                record = {**data, "_sdc_deleted_at": data.pop(DELETED)}
                record.pop(DELETED, None)
                yield {"type": "RECORD", "stream": message["record"]["stream"], "record": record}
            elif message["type"] == "STATE":
                stream = message["state"]["stream"]
                name = stream["stream_descriptor"]["name"]
                yield {"type": "STATE", "states": {name: stream["stream_state"]}}

    @override
    def ends_in_words(self, stdout: bytes, last_line: str) -> bool:
        return (
            b'"type":"ERROR"' in stdout
            or "can't be written" in last_line
            or ("stopped reading" in last_line)
        )


def _write(files: Mapping[str, Any]) -> list[str]:
    args = []
    for name, content in files.items():
        Path(f"{name}.json").write_text(json.dumps(content, default=int), encoding="utf-8")
        args += [f"--{name}", f"{name}.json"]
    return args


PROTOCOLS: Sequence[Protocol] = (Singer(), Airbyte())
