"""Singer messages on stdout, flushed when a target can use them, not one by one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from singer_sdk.contrib.msgspec import MsgSpecWriter
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
        line = self.format_message(message)
        with _errors_in_words():
            sys.stdout.buffer.write(line)
        if not isinstance(message, RecordMessage):
            flush()


def flush() -> None:
    """Hand all that is written to the target; raises OutputError."""
    with _errors_in_words():
        sys.stdout.flush()


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        message = "The target stopped reading before all was written; see its own log"
        raise OutputError(message) from error
    except OSError as error:
        message = (
            f"The messages can't be written: {error.strerror}. What a target has taken up to its "
            "last STATE won't be emitted again"
        )
        raise OutputError(message) from error
