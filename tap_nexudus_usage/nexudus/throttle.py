"""Lets the calls of all threads through at the pace allowed."""

from __future__ import annotations

import logging
import threading

from tap_nexudus_usage.clock import Clock
from tap_nexudus_usage.nexudus.pace import Pace, Wait

logger = logging.getLogger(__name__)

WORTH_SAYING = 5.0
"""Waits of fewer seconds are not logged."""


class Throttle:
    """Waits where the pace says so, and tells of long waits."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        """`pace` is given the clock's seconds."""
        self._clock = clock
        self._pace = pace
        self._lock = threading.Lock()
        self._announced_until = 0.0
        self._waited = 0.0

    @property
    def waited(self) -> float:
        """Seconds that calls have waited so far, all threads together."""
        return self._waited

    def acquire(self, *, post: bool = False, ahead: bool = False, again: bool = False) -> float:
        """Wait until one more call may be made; the clock's seconds then.

        `ahead`: it will be, after having waited `again`; so does one that couldn't use its turn.
        Raises StoppedError when the run is over.
        """
        self._clock.wait(0)
        while True:
            with self._lock:
                now = self._clock.now()
                wait = self._pace.take(now, post=post, ahead=ahead, again=again)
                if wait is None:
                    return now
                self._waited += wait.seconds
                if wait.why:
                    self._announce(wait, now)
            self._clock.wait(wait.seconds)

    def written(self) -> None:
        """Take note that a call which had its turn is on its way."""
        with self._lock:
            self._pace.written(self._clock.now())

    def hold(self, seconds: float, why: str) -> None:
        """Let no call through for `seconds`."""
        with self._lock:
            now = self._clock.now()
            self._pace.hold(now, seconds)
            self._announce(Wait(seconds, why), now)

    def learn(self, *, sent_at: float, asked: float | None) -> None:
        """Learn from a call that came too soon; `sent_at` is what `acquire` said of it.

        `asked`: the seconds that its answer asks to wait, if it does.
        """
        with self._lock:
            margin = self._pace.learn(self._clock.now(), sent_at=sent_at, asked=asked)
        if margin is not None:
            logger.debug("A call came too soon: from now on %.0f ms more between two", 1e3 * margin)

    def _announce(self, wait: Wait, now: float) -> None:
        """Say once for all threads how long calls wait, and why."""
        if wait.seconds >= WORTH_SAYING and now + wait.seconds > self._announced_until + 1:
            self._announced_until = now + wait.seconds
            logger.info("Waiting %.0f s for the API's throttle: %s", wait.seconds, wait.why)
