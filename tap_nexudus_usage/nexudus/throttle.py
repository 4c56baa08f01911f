"""The pace of calls: Nexudus's published limits kept, and its throttling answers obeyed.

Limits published by Nexudus: one request per 100 ms, 120 a minute, 5,000 an hour, 200,000 a
day for each client; POST besides 60 a minute and 2,500 a day (the stricter of two editions).
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from tap_nexudus_usage.clock import Clock

if TYPE_CHECKING:
    from tap_nexudus_usage.nexudus.windows import Windows

logger = logging.getLogger(__name__)

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
"""Windows in milliseconds, the unit of pyrate-limiter."""

WORTH_SAYING = 5.0
"""Waits of fewer seconds are not logged."""


class Throttle:
    """Lets calls through at the pace allowed, and none while the API asks to wait.

    `requests_per_minute` 0 switches the pace off; what the API asks for is still obeyed.
    """

    def __init__(self, clock: Clock, requests_per_minute: int) -> None:
        """Make the windows for all calls and, besides, those for POST."""
        self._clock = clock
        self._lock = threading.Lock()
        self._held_until = 0.0
        self._announced_until = 0.0
        self._waited = 0.0
        self._windows: dict[bool, list[Windows]] = {False: [], True: []}
        if requests_per_minute:
            # Not imported above: it takes long, and --version and the like have no use for it.
            from tap_nexudus_usage.nexudus.windows import Windows  # noqa: PLC0415

            general = Windows(
                [(1, SECOND // 10), (requests_per_minute, MINUTE), (5_000, HOUR), (200_000, DAY)]
            )
            posts = Windows([(60, MINUTE), (2_500, DAY)])
            self._windows = {False: [general], True: [posts, general]}

    @property
    def waited(self) -> float:
        """Seconds that calls have waited so far, all threads together."""
        return self._waited

    def acquire(self, *, post: bool = False) -> None:
        """Wait until one more call may be made; raises StoppedError when the run is over."""
        self._clock.wait(0)
        while (seconds := self._reserve(post=post)) > 0:
            with self._lock:
                self._waited += seconds
            self._clock.wait(seconds)

    def hold(self, seconds: float, reason: str) -> None:
        """Let no call through for `seconds`: one throttled call tells about the whole client."""
        with self._lock:
            until = self._clock.now() + seconds
            self._held_until = max(self._held_until, until)
            self._announce(seconds, reason)

    def _reserve(self, *, post: bool) -> float:
        """Take a place now and return 0, or return the seconds to wait before asking again."""
        with self._lock:
            now = self._clock.now()
            if self._held_until > now:
                return self._held_until - now
            for windows in self._windows[post]:
                seconds = windows.take(now)
                if seconds:
                    self._announce(seconds, windows.describe_full())
                    return seconds
            return 0.0

    def _announce(self, seconds: float, reason: str) -> None:
        """Say once for all threads how long calls wait, and why."""
        now = self._clock.now()
        if seconds >= WORTH_SAYING and now + seconds > self._announced_until + 1:
            self._announced_until = now + seconds
            logger.info("Waiting %.0f s for the API's throttle: %s", seconds, reason)
