"""The published throttle, and the ways in which servers count."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

ThrottleAnswer = Literal[409, 429]

Counting = Literal["sliding", "ticks", "fixed", "bucket", "spacing", "even"]
"""Sliding: so many calls in any window. Ticks: the same by a clock of 64 ticks a second, as Windows
has. Fixed: windows begin at multiples of their length. Bucket: tokens come evenly and gather.
Spacing: 100 ms after the call before, refused ones included; the longer limits are sliding. Even:
so for all limits, 120 a minute being one each half second.
"""

Window = tuple[int, float]
"""Calls allowed, in how many seconds."""

GENERAL: Sequence[Window] = ((1, 0.1), (120, 60.0), (5_000, 3_600.0), (200_000, 86_400.0))
POST: Sequence[Window] = ((60, 60.0), (2_500, 86_400.0))


ROUNDING = 1e-6
"""Seconds that make no difference."""


class _Limit(Protocol):
    def seconds_left(self, now: float) -> float:
        """Seconds until a call is let through, not above 0 for now."""

    def take(self, now: float, *, let_through: bool) -> None:
        """Count a call."""


class _Sliding:
    def __init__(self, calls: int, seconds: float, tick: float = 0.0) -> None:
        self._seconds = seconds
        self._tick = tick
        self._calls: deque[float] = deque(maxlen=calls)

    def seconds_left(self, now: float) -> float:
        if len(self._calls) < (self._calls.maxlen or 0):
            return 0.0
        return self._calls[0] + self._seconds - self._ticked(now)

    def take(self, now: float, *, let_through: bool) -> None:
        if let_through:
            self._calls.append(self._ticked(now))

    def _ticked(self, now: float) -> float:
        return now if not self._tick else now // self._tick * self._tick


class _Fixed:
    def __init__(self, calls: int, seconds: float) -> None:
        self._most, self._seconds = calls, seconds
        self._window, self._calls = -1, 0

    def seconds_left(self, now: float) -> float:
        if self._number(now) > self._window or self._calls < self._most:
            return 0.0
        return (self._window + 1) * self._seconds - now

    def take(self, now: float, *, let_through: bool) -> None:
        if self._number(now) > self._window:
            self._window, self._calls = self._number(now), 0
        self._calls += let_through

    def _number(self, now: float) -> int:
        return int((now + ROUNDING) / self._seconds)


class _Bucket:
    def __init__(self, calls: int, seconds: float) -> None:
        self._most, self._rate = calls, calls / seconds
        self._tokens, self._at = float(calls), -math.inf

    def seconds_left(self, now: float) -> float:
        return (1 - self._left(now)) / self._rate

    def take(self, now: float, *, let_through: bool) -> None:
        self._tokens = self._left(now) - let_through
        self._at = now

    def _left(self, now: float) -> float:
        return min(self._tokens + (now - self._at) * self._rate, self._most)


class _Spacing:
    def __init__(self, calls: int, seconds: float) -> None:
        self._seconds = seconds / calls
        self._last = -math.inf

    def seconds_left(self, now: float) -> float:
        return self._last + self._seconds - now

    def take(self, now: float, *, let_through: bool) -> None:  # noqa: ARG002 - refused ones too
        self._last = now


TICK = 1 / 64
"""Seconds."""


def _of_shortest(windows: Sequence[Window]) -> list[_Limit]:
    shortest, *others = windows
    return [_Spacing(*shortest), *(_Sliding(*window) for window in others)]


_LIMITS: Mapping[Counting, Callable[[Sequence[Window]], Sequence[_Limit]]] = {
    "sliding": lambda windows: [_Sliding(*window) for window in windows],
    "ticks": lambda windows: [_Sliding(*window, tick=TICK) for window in windows],
    "fixed": lambda windows: [_Fixed(*window) for window in windows],
    "bucket": lambda windows: [_Bucket(*window) for window in windows],
    "spacing": _of_shortest,
    "even": lambda windows: [_Spacing(*window) for window in windows],
}


class Throttle:
    """Tells whether a call comes too soon."""

    def __init__(
        self, now: Callable[[], float], windows: Sequence[Window], counting: Counting = "sliding"
    ) -> None:
        """`now` gives seconds; no windows, no throttle."""
        self._now = now
        self._limits = _LIMITS[counting](windows) if windows else ()

    def seconds_to_wait(self) -> int | None:
        """Count a call: None where it is let through, or the seconds that Retry-After will say."""
        now = self._now()
        wait = self._seconds_left(now)
        for limit in self._limits:
            limit.take(now, let_through=wait <= 0)
        return max(math.ceil(wait), 1) if wait > 0 else None

    def seconds_left(self) -> float:
        """Seconds until a call would be let through, 0 for now."""
        return self._seconds_left(self._now())

    def _seconds_left(self, now: float) -> float:
        wait = max((limit.seconds_left(now) for limit in self._limits), default=0.0)
        return wait if wait > ROUNDING else 0.0
