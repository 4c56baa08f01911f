"""Lines on stdout, handed over when a reader can use them, not one by one."""

from __future__ import annotations

import sys
import threading

from tap_nexudus_usage.errors import OutputError

BUFFER_SIZE = 65_536
"""Bytes that may gather before they are handed over."""


class Lines:
    """A buffer of whole lines. Methods may be called from several threads.

    Python's buffer won't do: PYTHONUNBUFFERED, which many containers set, takes it away, and what
    is left may write a part only when a signal comes in between.
    """

    def __init__(self) -> None:
        """Begin with nothing written."""
        self._buffer = bytearray()
        # Handlers of signals come in between, too, and write nothing.
        self._lock = threading.RLock()
        self._error: OSError | None = None

    def write(self, line: bytes | bytearray) -> None:
        """Write a line, for stdout to have at the next flush at the latest; raises OutputError."""
        with self._lock:
            self._buffer += line
            if len(self._buffer) >= BUFFER_SIZE:
                self.flush()

    def flush(self) -> None:
        """Hand all that is written to stdout; raises OutputError."""
        with self._lock:
            # Once an error has come, what has been taken and what hasn't can't be told. Whoever
            # writes is told of it: the first may have been a log, which has to go on.
            lines, self._buffer = memoryview(self._buffer), bytearray()
            if self._error is not None:
                raise output_error(self._error)
            try:
                while lines:
                    lines = lines[sys.stdout.buffer.write(lines) :]
                sys.stdout.flush()
            except OSError as error:
                self._error = error
                raise output_error(error) from error


def output_error(error: OSError) -> OutputError:
    """What to say of an error of stdout."""
    if isinstance(error, BrokenPipeError):
        return OutputError("The target stopped reading before all was written; see its own log")
    return OutputError(
        f"The messages can't be written: {error.strerror}. What a target has taken up to its last "
        "STATE won't be emitted again"
    )
