"""When the next call may be made: Nexudus's published limits, and its throttling answers obeyed.

Published: one request per 100 ms, 120 a minute, 5,000 an hour, 200,000 a day for each client; POST
besides 60 a minute and 2,500 a day (the stricter of two editions). Knows no thread and no clock: it
is told what time it is, in seconds.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from tap_nexudus_usage.nexudus.spacing import Spacing

if TYPE_CHECKING:
    from tap_nexudus_usage.nexudus.windows import Windows

MINUTE, HOUR, DAY = 60, 3_600, 86_400
"""Seconds."""


class Wait(NamedTuple):
    """How long there is no place for a call, and why."""

    seconds: float
    why: str


class Pace:
    """Gives each call its place in time."""

    def __init__(self, requests_per_minute: int) -> None:
        """`requests_per_minute` 0: only what the API asks for is obeyed."""
        self.spacing: Spacing | None = None
        self._held_until = -inf
        self._windows: dict[bool, list[Windows]] = {False: [], True: []}
        if requests_per_minute:
            # Not imported above: it takes long, and --version and the like have no use for it.
            from tap_nexudus_usage.nexudus.windows import Windows  # noqa: PLC0415

            self.spacing = Spacing()
            general = Windows([(requests_per_minute, MINUTE), (5_000, HOUR), (200_000, DAY)])
            posts = Windows([(60, MINUTE), (2_500, DAY)])
            # The one that may be full comes first, lest the other count what doesn't get a place.
            self._windows = {False: [general], True: [general, posts]}

    def take(
        self, now: float, *, post: bool = False, ahead: bool = False, again: bool = False
    ) -> Wait | None:
        """Take a place now and return None, or what there is to wait for before asking again.

        `ahead`: for a call that isn't sent yet, so that nothing has to keep a distance from it;
        `again`: for one that the longer limits have counted already, then or otherwise.
        """
        if self._held_until > now:
            return Wait(self._held_until - now, "")
        if self.spacing is not None and (seconds := self.spacing.wait(now)) > 0:
            return Wait(seconds, "")
        for windows in () if again else self._windows[post]:
            if seconds := windows.take(now):
                return Wait(seconds, windows.describe_full())
        if self.spacing is not None and not ahead:
            self.spacing.take(now)
        return None

    def written(self, now: float) -> None:
        """Take note that the call which was given the last place is on its way."""
        if self.spacing is not None:
            self.spacing.written(now)

    def hold(self, now: float, seconds: float) -> None:
        """Give no place for `seconds`: one throttled call tells about the whole client."""
        self._held_until = max(self._held_until, now + seconds)

    def learn(self, now: float, *, sent_at: float, asked: float | None) -> float | None:
        """Learn from a call that came too soon; the margin in seconds, if it is wider now.

        `sent_at` is a moment of `now`'s clock. `asked`: the seconds that the answer asks to wait,
        if it does.
        """
        if self.spacing is None or not self.spacing.widen(now, sent_at=sent_at, asked=asked):
            return None
        return self.spacing.margin
