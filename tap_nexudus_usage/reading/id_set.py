"""A set of Ids that stays small where there are very many."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

_BLOCK = 2**16


class IdSet:
    """Distinct Ids, about three bytes each where they lie as Nexudus's do; a `set` takes sixty."""

    def __init__(self) -> None:
        """Begin empty."""
        self._blocks: dict[int, array[int]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def add(self, record_id: int) -> bool:
        """Add an Id; whether it is new."""
        number, low = divmod(record_id, _BLOCK)
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = array("H")
        position = bisect_left(block, low)
        if position < len(block) and block[position] == low:
            return False
        block.insert(position, low)
        self._count += 1
        return True


def key(record: Mapping[str, Any]) -> int:
    """What to tell a record from others by: its Id, or a number for one that is no Id."""
    record_id = record.get("Id")
    return record_id if type(record_id) is int else hash(repr(record_id))
