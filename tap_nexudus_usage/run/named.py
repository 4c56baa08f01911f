"""The Ids that the records of one entity name, of another that is read by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.settings.tidying import LARGEST_ID


@dataclass(frozen=True)
class Asked:
    """The Ids to read.

    Attributes:
        are_all: whether these are all there are; what isn't among them may then be forgotten.
        are_named: whether other records name them, so that nobody configured them.
    """

    record_ids: Sequence[int]
    are_all: bool = True
    are_named: bool = False


class Named:
    """Gathers, from the records of a run, the Ids of entities that are read by what others name."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        """Begin with none; `entities` are those to be read."""
        self._ids: dict[Entity, dict[int, None]] = {e: {} for e in entities if e.named_by}
        self._begun: set[Entity] = set()
        self._whole: set[Entity] = set()

    def fields(self, source: Entity) -> Mapping[str, dict[int, None]]:
        """Which fields of the records of `source` name Ids to read, and where to put those."""
        return {
            entity.named_by.field: ids
            for entity, ids in self._ids.items()
            if entity.named_by is not None and entity.named_by.entity == source
        }

    def begin(self, source: Entity) -> None:
        """The records of `source` are about to be read."""
        self._begun.add(source)

    def finish(self, source: Entity) -> None:
        """All records of `source` were read."""
        self._whole.add(source)

    def was_begun(self, source: Entity) -> bool:
        """Whether any records of `source` may have been read."""
        return source in self._begun

    def asked(self, entity: Entity) -> Asked:
        """The Ids of `entity` that were named."""
        source = entity.named_by.entity if entity.named_by is not None else None
        return Asked([*self._ids[entity]], are_all=source in self._whole, are_named=True)


def take(record: Mapping[str, Any], fields: Mapping[str, dict[int, None]]) -> bool:
    """Take the Ids that a record names; 0 and null, as in Nexudus's examples, are none.

    Whether that can be told of all these fields.
    """
    is_clear = True
    for field, ids in fields.items():
        named = record.get(field)
        if named is None:
            continue
        if isinstance(named, bool) or not isinstance(named, (int, float, Decimal)):
            is_clear = False
        # 60.0 is 60.
        elif 0 < named <= LARGEST_ID and named == int(named):
            ids[int(named)] = None
        elif named != 0:
            is_clear = False
    return is_clear
