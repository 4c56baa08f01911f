"""Singer messages on stdout, flushed when a target can use them, not one by one."""

from __future__ import annotations

import sys

from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib import RecordMessage
from singer_sdk.singerlib.messages import Message
from typing_extensions import override


class BufferedWriter(MsgSpecWriter):
    """The SDK's msgspec writer without its flush after each record.

    Records stay in stdout's buffer until another message follows, or until the stream flushes it
    because it has to wait.
    """

    @override
    def write_message(self, message: Message) -> None:
        """Write a message to stdout."""
        sys.stdout.buffer.write(self.format_message(message))
        if not isinstance(message, RecordMessage):
            sys.stdout.flush()
