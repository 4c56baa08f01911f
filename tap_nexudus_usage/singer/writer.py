"""Singer messages on stdout, handed over when a target can use them, not one by one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from singer_sdk.contrib.msgspec import MsgSpecWriter, serialize_jsonl
from singer_sdk.helpers._state import StateWriter
from singer_sdk.helpers._util import utc_now
from singer_sdk.singerlib import RecordMessage
from singer_sdk.singerlib.messages import Message
from typing_extensions import override

from tap_nexudus_usage.errors import OutputError

BUFFER_SIZE = 65_536
"""Bytes that may gather before they are handed over."""


class BufferedWriter(MsgSpecWriter):
    """The SDK's msgspec writer, with a buffer of its own instead of a flush after each message.

    Python's buffer won't do: PYTHONUNBUFFERED, which many containers set, takes it away, and what
    is left may write a part only when a signal comes in between.
    """

    def __init__(self) -> None:
        """Begin with nothing written."""
        super().__init__()
        self.states = ComparingStateWriter(self)
        self._buffer = bytearray()

    @override
    def write_message(self, message: Message) -> None:
        """Write a message; raises OutputError."""
        self.write_line(self.format_message(message))
        if not isinstance(message, RecordMessage):
            self.flush()

    def write_record(self, stream: str, record: Mapping[str, Any], version: int | None) -> None:
        """Write what the SDK's RecordMessage would come to, without making one."""
        message: dict[str, Any] = {"type": "RECORD", "stream": stream, "record": record}
        if version is not None:
            message["version"] = version
        message["time_extracted"] = utc_now()
        self.write_line(serialize_jsonl(message))

    def write_line(self, line: bytes | bytearray) -> None:
        """Write a line, for stdout to have at the next flush at the latest; raises OutputError."""
        self._buffer += line
        if len(self._buffer) >= BUFFER_SIZE:
            self.flush()

    def flush(self) -> None:
        """Hand all that is written to stdout; raises OutputError."""
        try:
            # Once an error has come, what has been taken and what hasn't can't be told.
            lines, self._buffer = memoryview(self._buffer), bytearray()
            while lines:
                lines = lines[sys.stdout.buffer.write(lines) :]
            sys.stdout.flush()
        except BrokenPipeError as error:
            message = "The target stopped reading before all was written; see its own log"
            raise OutputError(message) from error
        except OSError as error:
            message = (
                f"The messages can't be written: {error.strerror}. What a target has taken up to "
                "its last STATE won't be emitted again"
            )
            raise OutputError(message) from error


class ComparingStateWriter(StateWriter):
    """Leaves a STATE out that equals the one before, as the SDK's does, but without deep copies.

    Those, and the dataclass around it, take longer than writing where there are many Ids.
    """

    def __init__(self, writer: BufferedWriter) -> None:
        """Begin without a STATE."""
        self._writer = writer
        self._last_line = b""

    @override
    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write a STATE if it is another one; raises OutputError."""
        line = bytes(serialize_jsonl({"type": "STATE", "value": state}))
        if line != self._last_line:
            self._writer.write_line(line)
            self._writer.flush()
            self._last_line = line

    def forget(self) -> None:
        """Write the next STATE, whatever it is."""
        self._last_line = b""
