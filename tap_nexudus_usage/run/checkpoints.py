"""When a STATE is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from tap_nexudus_usage.emission.packed import count_entries

STATE_EVERY = 10_000
"""Records between two STATE messages, or as many as the state has entries if that is more: all of a
run's together then stay proportional to its records."""


class Checkpoints:
    """Counts records, and seconds, until a STATE is due."""

    def __init__(self, count_entries: Callable[[], int], every_seconds: float = inf) -> None:
        """`count_entries` tells how many there are in all that is written as STATE."""
        self._count_entries = count_entries
        self._every_seconds = every_seconds
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from now on: a STATE was written."""
        self._left = max(STATE_EVERY, self._count_entries())
        self._late_at = time.monotonic() + self._every_seconds

    def count_one(self) -> bool:
        """Count a record that was written; whether a STATE is due."""
        self._left -= 1
        return self._left <= 0

    def is_late(self) -> bool:
        """Whether a STATE is due for the time that has gone, however few records came."""
        return time.monotonic() >= self._late_at


def entries(state: Mapping[str, Any]) -> int:
    """How many entries the bookmarks of a state have together; those of others may be anything."""
    bookmarks = state.get("bookmarks", {}).values()
    return sum(count_entries(bookmark.get("emitted")) for bookmark in bookmarks)
