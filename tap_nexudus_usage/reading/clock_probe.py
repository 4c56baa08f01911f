"""Finding out with few calls in which clock a tenant reads the bounds of a search.

A reading measures it where it shows, and needs no more than one record that is known
(`tenant_clock`). Here a page of records is known: which of them come between two bounds tells more
with each call than whether one comes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tap_nexudus_usage.errors import ApiError
from tap_nexudus_usage.nexudus.pages import Page
from tap_nexudus_usage.reading.asking import Answer, check_bounds
from tap_nexudus_usage.reading.minutes import shift, to_datetime
from tap_nexudus_usage.reading.tenant_clock import FARTHEST, STEP

MINUTE = timedelta(minutes=1)

HOUR = timedelta(hours=1)

HALF_A_YEAR = timedelta(days=182)

SOME_DAYS, FEW = timedelta(days=4), 5

Ask = Callable[[str, str], Page]
"""The page of the records between two bounds, in ascending order."""


@dataclass(frozen=True)
class Known:
    """Minutes in which there are records, and two of them, or one twice, to ask for."""

    minutes: frozenset[str]
    early: str
    late: str

    @property
    def are_close(self) -> bool:
        """Whether a clock may keep both out by the same bound."""
        return to_datetime(self.late) - to_datetime(self.early) < 2 * FARTHEST


@dataclass(frozen=True)
class Window:
    """What came between two bounds; the end is a whole minute after what was asked for."""

    known: Known
    begin: str
    end: str
    minutes: Sequence[str]
    is_whole: bool

    def allows(self, offset: timedelta) -> bool:
        """Whether a clock so far ahead of the stamps' explains which known records came."""
        first, end = shift(self.begin, -offset), shift(self.end, -offset)
        known = self.known.minutes
        if not self.is_whole:
            # What follows the last one shown isn't known to be missing.
            known = frozenset(minute for minute in known if minute <= max(self.minutes, default=""))
        expected = {minute for minute in known if first <= minute < end}
        # Of the last minute its very beginning is still in.
        return expected == known.intersection(self.minutes) - {end}

    def keeps(self, offset: timedelta) -> bool:
        """Whether nothing came from outside the bounds, known or not."""
        first, end = shift(self.begin, -offset), shift(self.end, -offset)
        return all(first <= minute <= end for minute in self.minutes)


def known_from(minutes: Sequence[str]) -> Known | None:
    """What can be asked for of a page with these minutes, if there are enough.

    Two that lie side by side, so that little comes, with something before and after them: bounds
    show that they are kept only where there is something to be kept out.
    """
    counted = Counter(minutes)
    inside = sorted(counted)[1:-1]
    if not inside:
        return None
    middle = len(inside) // 2
    first = min(
        range(max(len(inside) - 1, 1)),
        key=lambda i: (sum(counted[minute] for minute in inside[i : i + 2]), abs(i - middle)),
    )
    return Known(frozenset(counted), *(inside[first : first + 2] * 2)[:2])


def first_days(minutes: Sequence[str]) -> Known | None:
    """What can be asked for of the first days, or of a few records; later it may be another season.

    The two are as far apart as can be: a clock an hour ahead or behind shows in one of them.
    """
    end = shift(minutes[0], SOME_DAYS) if minutes else ""
    known = minutes[: max(bisect_left(minutes, end), FEW)]
    inside = sorted(set(known))[1:-1]
    return Known(frozenset(known), inside[0], inside[-1]) if inside else None


def find_offset(ask: Ask, known: Known) -> timedelta | None:
    """How far the clock of the bounds is ahead of the stamps'; None where that doesn't show.

    Raises ApiError where the bounds aren't kept.
    """
    farthest = FARTHEST // STEP
    offsets = [STEP * number for number in range(-farthest, farthest + 1)]
    low = high = timedelta(0)
    while True:
        window = look(ask, known, low, high)
        left = [offset for offset in offsets if window.allows(offset)]
        if len(left) == 1 and not window.keeps(left[0]):
            message = (
                "The API's search doesn't keep to its bounds: records from outside of them come, "
                "which no clock explains. Please report it; reading by Id works without"
            )
            raise ApiError(message)
        if len(left) == 1:
            return left[0]
        if not left or left == offsets:
            return None
        offsets = left
        low, high = _middle(offsets, halves=known.are_close)


def look(ask: Ask, known: Known, low: timedelta, high: timedelta) -> Window:
    """Ask once for what is known, as if the clock was from `low` to `high` ahead.

    Raises ApiError where no clock explains what comes.
    """
    begin, end = shift(known.early, low), shift(known.late, high + MINUTE)
    page = ask(begin, end)
    minutes = Answer(begin, page).minutes
    check_bounds(minutes, begin, end)
    return Window(known, begin, end, minutes, len(page.records) >= page.total_items)


def change_since(window: Window, offset: timedelta) -> timedelta | None:
    """By how much a clock known elsewhere has changed, as for daylight saving, if that shows."""
    changes = [
        change
        for change in (timedelta(0), HOUR, -HOUR)
        if abs(offset + change) <= FARTHEST and window.allows(offset + change)
    ]
    return changes[0] if len(changes) == 1 else None


def _middle(offsets: Sequence[timedelta], *, halves: bool) -> tuple[timedelta, timedelta]:
    """The offsets from which to which to look next: those in the middle third, or first half."""
    first = 0 if halves else len(offsets) // 3
    length = len(offsets) // 2 if halves else (len(offsets) + 1) // 3
    return offsets[first], offsets[first + length - 1]
