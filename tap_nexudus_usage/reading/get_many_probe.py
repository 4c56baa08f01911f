"""Finding out with few calls which form of get many a tenant understands, and how large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from tap_nexudus_usage.errors import RefusalError, UnknownFormError
from tap_nexudus_usage.nexudus.client import GetManyForm, NexudusClient
from tap_nexudus_usage.nexudus.pages import Record

REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True)
class GetMany:
    """What was found out.

    Attributes:
        form: the one that is understood, if any.
        asked_for: so many Ids at once.
        is_largest: whether more were refused.
        found: the records that came.
        is_refused: whether the user's role doesn't do.
        fails: whether an error came, which may mean that none of the Ids exists.
    """

    form: GetManyForm | None = None
    asked_for: int = 1
    is_largest: bool = False
    found: dict[int, Record] = field(default_factory=dict)
    is_refused: bool = False
    fails: bool = False

    def batch(self, ids: int, wanted: int) -> int:
        """How many of so many Ids a run reads with a call, as far as is known."""
        is_all = self.form is not None and self.asked_for == min(ids, wanted)
        return wanted if is_all else self.asked_for


def try_get_many(client: NexudusClient, ids: Sequence[int]) -> GetMany:
    """Ask for all `ids` in one form and the other, and for two where that is too much."""
    statuses: set[int | None] = set()
    for form in GetManyForm:
        room = client.room_for_ids(form) // (len(str(max(ids))) + 1)
        whole = min(len(ids), room)
        for size in dict.fromkeys((whole, 2)):
            try:
                found = client.get_many(ids[:size], form)
            except UnknownFormError:
                break
            except RefusalError as refusal:
                statuses.add(refusal.status)
                if refusal.status in REFUSED:
                    break
                continue
            return GetMany(form, size, size < whole, found)
    return GetMany(is_refused=bool(statuses & REFUSED), fails=bool(statuses))
