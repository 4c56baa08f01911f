"""The messages of the Airbyte protocol (0.18), each a line of JSON on stdout."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tap_nexudus_usage.lines import Lines
from tap_nexudus_usage.redaction import Redactor

Json = Mapping[str, Any]

WORDED = frozenset({"message", "internal_message", "stack_trace"})
"""What an error tells in words of no protocol's."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Messages:
    """Writes messages. Methods may be called from several threads, and raise OutputError."""

    def __init__(self, redactor: Redactor) -> None:
        """Begin with nothing written; what `redactor` knows is left out of all words."""
        self._redactor = redactor
        self._lines = Lines()
        self.flush = self._lines.flush

    def record(self, stream: str, data: Json) -> None:
        """A record, which may stay in the buffer for a while; all others don't."""
        record = {"stream": stream, "data": data, "emitted_at": _now()}
        self._lines.write(_line({"type": "RECORD", "record": record}))

    def state(self, stream: str, state: Json, records: int) -> None:
        """The state of a stream, which covers all of its records before it.

        `records` are those since the one before.
        """
        self._write(
            {
                "type": "STATE",
                "state": {
                    "type": "STREAM",
                    "stream": {"stream_descriptor": {"name": stream}, "stream_state": state},
                    # The protocol wants a double.
                    "sourceStats": {"recordCount": float(records)},
                },
            }
        )

    def status(self, stream: str, status: str) -> None:
        """STARTED, RUNNING, COMPLETE or INCOMPLETE."""
        told = {"stream_descriptor": {"name": stream}, "status": status}
        self._trace("STREAM_STATUS", stream_status=told)

    def error(self, told: Json) -> None:
        """What went wrong: message, failure_type and so on."""
        # What else there is are words of the protocol's, which a short secret may be a part of.
        words = {
            name: self._redactor.redact(value) if name in WORDED else value
            for name, value in told.items()
        }
        self._trace("ERROR", error=words)

    def log(self, level: str, message: str) -> None:
        """A line of the log."""
        words = self._redactor.redact(message)
        self._write({"type": "LOG", "log": {"level": level, "message": words}})

    def spec(self, spec: Json) -> None:
        """What a configuration looks like."""
        self._write({"type": "SPEC", "spec": spec})

    def connection_status(self, status: str, message: str) -> None:
        """SUCCEEDED or FAILED."""
        told = {"status": status, "message": self._redactor.redact(message)}
        self._write({"type": "CONNECTION_STATUS", "connectionStatus": told})

    def catalog(self, streams: Sequence[Json]) -> None:
        """What can be read."""
        self._write({"type": "CATALOG", "catalog": {"streams": streams}})

    def config(self, config: Json) -> None:
        """The whole configuration, which has changed."""
        told = {"type": "CONNECTOR_CONFIG", "emitted_at": _now()}
        self._write({"type": "CONTROL", "control": {**told, "connectorConfig": {"config": config}}})

    def _trace(self, kind: str, **told: Json) -> None:
        self._write({"type": "TRACE", "trace": {"type": kind, "emitted_at": float(_now()), **told}})

    def _write(self, message: Json) -> None:
        self._lines.write(_line(message))
        self._lines.flush()


def _now() -> int:
    """Milliseconds."""
    return time.time_ns() // 1_000_000


def _line(message: Json) -> bytes:
    return _encode(message) + b"\n"
