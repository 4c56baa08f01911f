"""The published throttle, as sliding windows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

ThrottleAnswer = Literal[409, 429]

Window = tuple[int, float]
"""Calls allowed, in how many seconds."""

GENERAL: Sequence[Window] = ((1, 0.1), (120, 60.0), (5_000, 3_600.0), (200_000, 86_400.0))
POST: Sequence[Window] = ((60, 60.0), (2_500, 86_400.0))


class Throttle:
    """Tells whether a call comes too soon. A call that is refused doesn't count."""

    def __init__(self, now: Callable[[], float], windows: Sequence[Window]) -> None:
        """`now` gives seconds; no windows, no throttle."""
        self._now = now
        self._windows = windows
        self._calls: deque[float] = deque(maxlen=max((calls for calls, _ in windows), default=0))

    def seconds_to_wait(self) -> int | None:
        """None and a place taken, or the whole seconds that Retry-After will say."""
        now = self._now()
        waits = [
            self._calls[-calls] + seconds - now
            for calls, seconds in self._windows
            if len(self._calls) >= calls
        ]
        wait = max(waits, default=0.0)
        if wait > 0:
            return max(math.ceil(wait), 1)
        self._calls.append(now)
        return None
