"""Singer messages on stdout, flushed when a target can use them, not one by one."""

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


class BufferedWriter(MsgSpecWriter):
    """The SDK's msgspec writer without its flush after each record.

    Records stay in stdout's buffer until another message follows, or until the stream flushes it
    because it has to wait.
    """

    @override
    def write_message(self, message: Message) -> None:
        """Write a message to stdout; raises OutputError."""
        write_line(self.format_message(message))
        if not isinstance(message, RecordMessage):
            flush()


class ComparingStateWriter(StateWriter):
    """Leaves a STATE out that equals the one before, as the SDK's does, but without deep copies.

    Those, and the dataclass around it, take longer than writing where there are many Ids.
    """

    def __init__(self) -> None:
        """Begin without a STATE."""
        self._last_line = b""

    @override
    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write a STATE to stdout if it is another one; raises OutputError."""
        line = bytes(serialize_jsonl({"type": "STATE", "value": state}))
        if line != self._last_line:
            write_line(line)
            flush()
            self._last_line = line

    def forget(self) -> None:
        """Write the next STATE, whatever it is."""
        self._last_line = b""


def write_record(stream: str, record: Mapping[str, Any], version: int | None) -> None:
    """Write what the SDK's RecordMessage would come to, without making one; raises OutputError."""
    message: dict[str, Any] = {"type": "RECORD", "stream": stream, "record": record}
    if version is not None:
        message["version"] = version
    message["time_extracted"] = utc_now()
    write_line(serialize_jsonl(message))


def write_line(line: bytes | bytearray) -> None:
    """Hand a line to stdout's buffer; raises OutputError."""
    try:
        sys.stdout.buffer.write(line)
    except OSError as error:
        raise _in_words(error) from error


def flush() -> None:
    """Hand all that is written to the target; raises OutputError."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise _in_words(error) from error


def _in_words(error: OSError) -> OutputError:
    if isinstance(error, BrokenPipeError):
        return OutputError("The target stopped reading before all was written; see its own log")
    return OutputError(
        f"The messages can't be written: {error.strerror}. What a target has taken up to its last "
        "STATE won't be emitted again"
    )
