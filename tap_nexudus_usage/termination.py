"""The end that a signal asks for: noticed between records and in waits, never in between a line."""

from __future__ import annotations

import os
from types import FrameType

from tap_nexudus_usage.errors import Terminated


class Termination:
    """A handler of signals that remembers the first and obeys the second at once."""

    def __init__(self) -> None:
        """Begin without one."""
        self._signum: int | None = None

    def __call__(self, signum: int, _: FrameType | None = None) -> None:
        """Ask the run to end; the second time, end the process."""
        if self._signum is not None:
            os._exit(128 + signum)
        self._signum = signum

    def raise_if_asked(self) -> None:
        """Raise Terminated where a signal has asked for the end."""
        if self._signum is not None:
            raise Terminated(self._signum)
