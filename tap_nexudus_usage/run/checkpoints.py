"""When a STATE is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

STATE_EVERY = 10_000
"""Records between two STATE messages, or as many as the state has entries if that is more: all of a
run's together then stay proportional to its records."""


class Checkpoints:
    """Counts records until a STATE is due."""

    def __init__(self, count_entries: Callable[[], int]) -> None:
        """`count_entries` tells how many there are in all that is written as STATE."""
        self._count_entries = count_entries
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from now on: a STATE was written."""
        self._left = max(STATE_EVERY, self._count_entries())

    def count_one(self) -> bool:
        """Count a record that was written; whether a STATE is due."""
        self._left -= 1
        return self._left <= 0


def entries(state: Mapping[str, Any]) -> int:
    """How many entries the bookmarks of a state have together; those of others may be anything."""
    found = (bookmark.get("emitted") for bookmark in state.get("bookmarks", {}).values())
    return sum(len(emitted) for emitted in found if isinstance(emitted, Mapping))
