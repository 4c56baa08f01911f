"""The end that a signal asks for: noticed between records and in waits, never in between a line."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from tap_nexudus_usage.errors import Terminated

SIGNALS = (signal.SIGTERM, signal.SIGINT)

LAST_SECOND = 1.0
"""Seconds that a signal may take to end the process: as PID 1, it doesn't."""


class Termination:
    """A handler of signals that remembers the first and obeys the second at once."""

    def __init__(self, grace: float | None = None) -> None:
        """Begin without one.

        `grace`: seconds after which the signal ends the process, whatever it waits for: a reader
        that has stopped reading, for example. None: no limit.
        """
        self._grace = grace
        self._signum: int | None = None

    def __call__(self, signum: int, _: FrameType | None = None) -> None:
        """Ask the run to end; the second time, end the process."""
        if self._signum is not None:
            os._exit(128 + signum)
        self._signum = signum
        if self._grace is not None:
            # So that the second signal does what signals do; only this thread may say so.
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            timer = threading.Timer(self._grace, _send, (signum,))
            timer.daemon = True
            timer.start()

    def raise_if_asked(self) -> None:
        """Raise Terminated where a signal has asked for the end."""
        if self._signum is not None:
            raise Terminated(self._signum)


def die_of(signum: int) -> None:
    """End the process as the signal would have done."""
    signal.signal(signum, signal.SIG_DFL)
    _send(signum)


def _send(signum: int) -> None:
    os.kill(os.getpid(), signum)
    time.sleep(LAST_SECOND)
    os._exit(128 + signum)
