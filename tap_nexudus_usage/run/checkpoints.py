"""When a STATE is due."""

from __future__ import annotations

from collections.abc import Sized

STATE_EVERY = 10_000
"""Records between two STATE messages, or as many as the state has entries if that is more: all of a
run's together then stay proportional to its records."""


class Checkpoints:
    """Counts records until a STATE is due."""

    def __init__(self, entries: Sized) -> None:
        """`entries` are those of the state, as long as it is written."""
        self._entries = entries
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from now on: a STATE was written."""
        self._left = max(STATE_EVERY, len(self._entries))

    def count_one(self) -> bool:
        """Count a record that was written; whether a STATE is due."""
        self._left -= 1
        return self._left <= 0
