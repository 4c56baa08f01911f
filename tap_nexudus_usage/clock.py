"""Time as the API's throttle counts it, and waits that the end of a run cuts short."""

from __future__ import annotations

import threading
import time

from tap_nexudus_usage.errors import StoppedError


class Clock:
    """Monotonic seconds, and waits shared by all threads of a run.

    `speed` makes the tests' time run faster than the wall's, together with the sandbox's.
    """

    def __init__(self, speed: float = 1.0) -> None:
        """Start a clock that runs `speed` times as fast as real time."""
        self._speed = speed
        self._stopped = threading.Event()

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic() * self._speed

    def wait(self, seconds: float) -> None:
        """Wait for `seconds`; raises StoppedError at once when the run is over."""
        if self._stopped.wait(max(seconds, 0) / self._speed):
            raise StoppedError

    def stop(self) -> None:
        """End every wait, now and from now on."""
        self._stopped.set()
