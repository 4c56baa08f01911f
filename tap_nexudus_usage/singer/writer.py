"""Singer messages on stdout, handed over when a target can use them, not one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from singer_sdk.contrib.msgspec import MsgSpecWriter, serialize_jsonl
from singer_sdk.helpers._state import StateWriter
from singer_sdk.helpers._util import utc_now
from singer_sdk.singerlib import RecordMessage
from singer_sdk.singerlib.messages import Message
from typing_extensions import override

from tap_nexudus_usage.lines import Lines


class BufferedWriter(MsgSpecWriter):
    """The SDK's msgspec writer, with a buffer of its own instead of a flush after each message."""

    def __init__(self) -> None:
        """Begin with nothing written."""
        super().__init__()
        self.states = ComparingStateWriter(self)
        self._lines = Lines()

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
        self._lines.write(line)

    def flush(self) -> None:
        """Hand all that is written to stdout; raises OutputError."""
        self._lines.flush()


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
