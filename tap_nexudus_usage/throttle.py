"""The pace of calls: Nexudus's published limits kept, and its throttling answers obeyed.

Limits published by Nexudus: one request per 100 ms, 120 a minute, 5,000 an hour, 200,000 a
day for each client; POST besides 60 a minute and 2,500 a day (the stricter of two editions).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from tap_nexudus_usage.clock import Clock

logger = logging.getLogger(__name__)

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
"""Windows in milliseconds, the unit of pyrate-limiter."""

MARGIN, MARGIN_SHARE = 50, 0.005
"""Each window is kept this much longer (ms, and share of it): calls reach the server more closely
spaced than they were sent, when a later one travels faster."""

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
        self._buckets: dict[bool, list[InMemoryBucket]] = {False: [], True: []}
        if requests_per_minute:
            general = _bucket(
                [(1, SECOND // 10), (requests_per_minute, MINUTE), (5_000, HOUR), (200_000, DAY)]
            )
            posts = _bucket([(60, MINUTE), (2_500, DAY)])
            self._buckets = {False: [general], True: [posts, general]}

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
            item = RateItem("call", int(now * 1_000))
            for bucket in self._buckets[post]:
                bucket.leak(item.timestamp)
                if not bucket.put(item):
                    return self._seconds_to_wait(bucket, item)
            return 0.0

    def _seconds_to_wait(self, bucket: InMemoryBucket, item: RateItem) -> float:
        seconds = max(cast("int", bucket.waiting(item)), 1) / 1_000
        if rate := bucket.failing_rate:
            self._announce(seconds, f"{rate.limit:,} calls in {rate.interval // 1_000} s allowed")
        return seconds

    def _announce(self, seconds: float, reason: str) -> None:
        """Say once for all threads how long calls wait, and why."""
        now = self._clock.now()
        if seconds >= WORTH_SAYING and now + seconds > self._announced_until + 1:
            self._announced_until = now + seconds
            logger.info("Waiting %.0f s for the API's throttle: %s", seconds, reason)


def _bucket(windows: Iterable[tuple[int, int]]) -> InMemoryBucket:
    """A bucket of those (calls, milliseconds) windows that others don't already imply.

    pyrate-limiter refuses windows that can never be the ones to bind.
    """
    binding: list[tuple[int, int]] = []
    for calls, interval in sorted(windows, key=lambda window: window[1]):
        while binding and binding[-1][0] >= calls:
            binding.pop()
        if not binding or calls / interval < binding[-1][0] / binding[-1][1]:
            binding.append((calls, interval))
    return InMemoryBucket(
        [Rate(calls, int(interval * (1 + MARGIN_SHARE)) + MARGIN) for calls, interval in binding]
    )
