"""The time between two calls: the published 100 ms, and a margin that is learned.

Calls may be counted more closely spaced than they were sent: a later one travels faster, a server's
clock ticks coarsely, or a tenant allows less than is published. How much closer isn't known, so the
margin begins close, widens with a throttled call, and closes in again while all goes well.
"""

from __future__ import annotations

from math import inf

PUBLISHED = 0.1
"""Seconds; "1 request per 100 ms"."""

CLOSEST = 0.003
"""Seconds of the margin, at the start and at the least: 97 % of the rate published."""

WIDEST = 0.63
"""Seconds of the margin, at the most: 5,000 calls an hour, evenly spaced, are 0.72 seconds apart.
What is throttled then has met a longer limit, of which others may have used their part."""

TIMES_WIDER, TIMES_WIDER_WHEN_CALM = 2.0, 1.5
"""How much a throttled call widens the margin: by less where it held for long."""

TIMES_CLOSER = 0.75
"""Of the margin, what is left after a calm. Times what widens it when calm, that is above 1: what
was tried too close doesn't come again at once."""

CALM = 150
"""Calls without a throttled one, after which a closer margin is tried. Each that is too close costs
a throttled call, so that these stay well below one of a hundred."""

TELLING_SECONDS = 5.0
"""A throttled call that has to wait for longer has met one of the longer limits."""


class Spacing:
    """Keeps calls apart; times are seconds of any one clock."""

    def __init__(self) -> None:
        """Begin close."""
        self.margin = CLOSEST
        self._last = self._widened_at = -inf
        self._calm = 0
        self._has_been_calm = False

    def wait(self, now: float) -> float:
        """Seconds until a call may be made, 0 for none."""
        return max(self._last + PUBLISHED + self.margin - now, 0.0)

    def take(self, now: float) -> None:
        """Count a call made at `now`."""
        self._last = now
        self._calm += 1
        if self._calm >= CALM:
            self.margin = max(self.margin * TIMES_CLOSER, CLOSEST)
            self._calm = 0
            self._has_been_calm = True

    def written(self, now: float) -> None:
        """Keep the next one apart from the last as it was sent.

        Between its turn and that, other threads may take the interpreter for tens of milliseconds,
        to decode what has come; the next one, on time, would then come too soon.
        """
        self._last = max(self._last, now)

    def widen(self, now: float, *, sent_at: float, asked: float | None) -> bool:
        """Learn from a throttled call, which has to wait for `asked` seconds, where that was said.

        Returns whether it told anything new: one sent before the last widening doesn't.
        """
        if sent_at <= self._widened_at or (asked or 0.0) > TELLING_SECONDS:
            return False
        times = TIMES_WIDER_WHEN_CALM if self._has_been_calm else TIMES_WIDER
        self.margin = min(self.margin * times, WIDEST)
        self._widened_at = now
        self._calm = 0
        self._has_been_calm = False
        return True
