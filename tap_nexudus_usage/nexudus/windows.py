"""Sliding windows of calls, kept by pyrate-limiter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

MARGIN_SHARE = 0.005
"""Each window is kept this much longer, as a share of it: the last call of one may travel faster
than the first. In windows as long as these it costs next to nothing."""

MILLISECONDS = 1_000
"""pyrate-limiter's unit, of a second."""


class Windows:
    """So many calls in so many seconds, for several such limits."""

    def __init__(self, windows: Iterable[tuple[int, int]]) -> None:
        """Leave out limits that others imply: pyrate-limiter refuses what can never bind."""
        binding: list[tuple[int, int]] = []
        for calls, interval in sorted(windows, key=lambda window: window[1]):
            while binding and binding[-1][0] >= calls:
                binding.pop()
            if not binding or calls / interval < binding[-1][0] / binding[-1][1]:
                binding.append((calls, interval))
        self._bucket = InMemoryBucket(
            [
                Rate(calls, int(interval * MILLISECONDS * (1 + MARGIN_SHARE)))
                for calls, interval in binding
            ]
        )

    def take(self, now: float) -> float:
        """Take a place at `now` and return 0, or the seconds until one is free."""
        item = RateItem("call", int(now * MILLISECONDS))
        self._bucket.leak(item.timestamp)
        if self._bucket.put(item):
            return 0.0
        return max(cast("int", self._bucket.waiting(item)), 1) / MILLISECONDS

    def describe_full(self) -> str:
        """The limit that last left no place."""
        rate = self._bucket.failing_rate
        return f"{rate.limit:,} calls in {rate.interval // MILLISECONDS} s allowed" if rate else ""
