"""A set of Ids that stays small where there are very many."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

_BITS = 16
_LOW = 2**_BITS - 1


class IdSet:
    """Distinct Ids, about three bytes each where they lie as Nexudus's do; a `set` takes sixty."""

    def __init__(self) -> None:
        """Begin empty."""
        self._blocks: dict[int, array[int]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __contains__(self, record_id: int) -> bool:
        """Whether it was added."""
        block = self._blocks.get(record_id >> _BITS)
        if block is None:
            return False
        position = bisect_left(block, record_id & _LOW)
        return position < len(block) and block[position] == record_id & _LOW

    def add(self, record_ids: Iterable[int]) -> list[bool]:
        """Add Ids; for each, whether it is new."""
        blocks = self._blocks
        are_new = []
        for record_id in record_ids:
            number, low = record_id >> _BITS, record_id & _LOW
            block = blocks.get(number)
            if block is None:
                blocks[number] = array("H", [low])
                are_new.append(True)
                continue
            position = bisect_left(block, low)
            is_new = position == len(block) or block[position] != low
            if is_new:
                block.insert(position, low)
            are_new.append(is_new)
        self._count += sum(are_new)
        return are_new
