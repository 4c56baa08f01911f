"""What a run needs besides what it reads: given by whoever started it, whatever the protocol."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tap_nexudus_usage.nexudus.connection import Connection, connect
from tap_nexudus_usage.nexudus.transport import OnAnswer
from tap_nexudus_usage.redaction import Redactor
from tap_nexudus_usage.settings.checked import Settings
from tap_nexudus_usage.termination import Termination


@dataclass(frozen=True)
class Surroundings:
    """The surroundings of a run.

    Attributes:
        flush: hands over what is written so far, which is of use while the run waits.
        on_rotated: is told of the refresh token that takes the place of the one configured.
        clock_speed: of the throttle's time; the tests raise it with the sandbox's.
    """

    settings: Settings
    redactor: Redactor
    termination: Termination
    flush: Callable[[], None]
    clock_speed: float
    on_rotated: Callable[[str], None] | None = None

    def connect(self, on_answer: OnAnswer) -> AbstractContextManager[Connection]:
        """A connection, see `nexudus.connection.connect`."""
        return connect(
            self.settings.connection,
            clock_speed=self.clock_speed,
            redactor=self.redactor,
            on_answer=on_answer,
            on_rotated=self.on_rotated,
        )
