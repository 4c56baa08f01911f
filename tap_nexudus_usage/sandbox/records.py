"""Tables of records, generated from a seed, that can be changed while they are served."""

from __future__ import annotations

import random
import uuid
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar, overload

from typing_extensions import override

from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.sandbox import literals

Record = dict[str, Any]

ROOMS = (
    "Meeting Room 1",
    "Boardroom “Aurora”",
    "Sala de Reuniões Tejo",
    "Kleine Ecke (2. Stock)",
    "会議室 さくら",
    "غرفة الاجتماعات",
    "Переговорная №3",
    "Podcast 🎙 Studio",
)

FIRST_DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)


def dotnet(moment: datetime, ticks: int = 0) -> str:
    """A moment as .NET writes it: up to seven fractional digits, trailing zeros dropped.

    `ticks` are the 100 ns that Python's datetimes don't have, 0 to 9.
    """
    base = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06}{ticks}".rstrip("0")
    return f"{base}.{fraction}Z" if fraction else f"{base}Z"


def stamp_key(stamp: str) -> str:
    """What to compare a stamp by; its text as it is has the wrong order."""
    base, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{base}.{fraction:0<7}"


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(timezone.utc)


class _Ids(Sequence[int]):
    """Ids by stamp, looked up when needed: a search shows one page of what may be very many."""

    def __init__(self, by_stamp: Sequence[tuple[str, int]], positions: range) -> None:
        self._by_stamp = by_stamp
        self._positions = positions

    @override
    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> _Ids: ...

    @override
    def __getitem__(self, index: int | slice) -> int | _Ids:
        if isinstance(index, slice):
            return _Ids(self._by_stamp, self._positions[index])
        return self._by_stamp[self._positions[index]][1]


class Table(ABC):
    """Records by Id; the same seed and count give the same table.

    Attributes:
        quantity: the field with a number that changes at random.
        new_ids: where Ids come from.
    """

    quantity: ClassVar[str]
    new_ids: ClassVar[range] = range(10_000_000, 100_000_000)

    def __init__(
        self, count: int, seed: int | str = 1, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        """Generate `count` records with sparse Ids; `now` stamps changes."""
        self._random = random.Random(seed)  # noqa: S311 - data, no secret
        self._now = now
        self._records: dict[int, Record] = {}
        self._json: dict[int, bytes] = {}
        self._by_stamp: list[tuple[str, int]] = []
        for record_id in sorted(self._random.sample(self.new_ids, count)):
            self._records[record_id] = self.generate(record_id)
        self._by_stamp = self._in_order()

    def _in_order(self) -> list[tuple[str, int]]:
        return sorted(
            (stamp_key(record["UpdatedOn"]), record_id)
            for record_id, record in self._records.items()
        )

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._records)

    def __iter__(self) -> Iterator[int]:
        """The Ids, oldest first."""
        return iter(list(self._records))

    def get(self, record_id: int) -> Record | None:
        """The record with this Id, as the API sends it."""
        return self._records.get(record_id)

    def json(self, record_id: int) -> bytes | None:
        """The same as the JSON to send, made once: a sandbox must not be what a bench measures."""
        if record_id not in self._json and record_id in self._records:
            self._json[record_id] = literals.encode(self._records[record_id])
        return self._json.get(record_id)

    def updated_between(self, start: str, end: str) -> Sequence[int]:
        """The Ids of those stamped from `start` to `end`, both in, earliest first.

        The bounds are such as `stamp_key` gives; "" and "~" leave an end open. Records without a
        stamp are in no range. To be used before the table changes.
        """
        first = bisect_left(self._by_stamp, (start, 0))
        last = bisect_right(self._by_stamp, (end, 2**63))
        return _Ids(self._by_stamp, range(first, last))

    def change(self, record_id: int, **fields: Any) -> Record:
        """Set fields of a record; `UpdatedOn` becomes now unless it is among them."""
        now = dotnet(self._now())
        changed = {**self._records[record_id], "UpdatedOn": now, "IsNew": False, **fields}
        self._forget_stamp(record_id)
        self._put(record_id, changed)
        return changed

    def change_all(self, span: timedelta) -> None:
        """Stamp all records anew, at random within the last `span`, as a bulk change does."""
        now, microseconds = self._now(), span // timedelta(microseconds=1)
        for record_id, record in self._records.items():
            ago = timedelta(microseconds=self._random.randrange(microseconds))
            changed = {"UpdatedOn": dotnet(now - ago), "IsNew": False}
            self._records[record_id] = {**record, **changed}
        self._json.clear()
        self._by_stamp = self._in_order()

    def delete(self, record_id: int) -> None:
        """Delete a record."""
        self._forget_stamp(record_id)
        del self._records[record_id]
        self._json.pop(record_id, None)

    def _forget_stamp(self, record_id: int) -> None:
        stamp = self._records[record_id]["UpdatedOn"]
        if stamp is not None:
            entry = (stamp_key(stamp), record_id)
            del self._by_stamp[bisect_left(self._by_stamp, entry)]

    def insert(self, record_id: int | None = None, **fields: Any) -> Record:
        """Add a record, with the next free Id unless one is given."""
        if record_id is None:
            record_id = max(self._records, default=self.new_ids.start - 1) + self._random.randint(
                1, 50
            )
        now = dotnet(self._now())
        inserted = {
            **self.generate(record_id),
            "CreatedOn": now,
            "UpdatedOn": now,
            "IsNew": True,
            **fields,
        }
        self._put(record_id, inserted)
        return inserted

    def _put(self, record_id: int, record: Record) -> None:
        self._records[record_id] = record
        self._json.pop(record_id, None)
        if record["UpdatedOn"] is not None:
            insort(self._by_stamp, (stamp_key(record["UpdatedOn"]), record_id))

    @abstractmethod
    def generate(self, record_id: int) -> Record:
        """A new record."""

    def _moment(self, after: datetime, *, days: int) -> datetime:
        """A moment within `days` after another, with a fraction of any length, often none."""
        seconds = self._random.randrange(days * 86_400)
        digits = self._random.choice((0, 0, 1, 2, 3, 4, 5, 6))
        microseconds = self._random.randrange(10**digits) * 10 ** (6 - digits)
        return after.replace(microsecond=0) + timedelta(seconds=seconds, microseconds=microseconds)

    def _booking(self, after: datetime) -> tuple[datetime, int]:
        """When a booking begins that is made at a moment, and its hours."""
        start = (after + timedelta(days=self._random.randint(0, 30))).replace(
            minute=self._random.choice((0, 15, 30, 45)), second=0, microsecond=0
        )
        return start, self._random.choice((1, 1, 2, 3, 8))

    def _unique_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _common(self, record_id: int, name: str, created: datetime, updated: datetime) -> Record:
        """The fields that each entity has, of the entity named."""
        chance = self._random
        return {
            "Id": record_id,
            "UpdatedOn": dotnet(updated, chance.choice((0, 0, 7))),
            "CreatedOn": dotnet(created),
            "UniqueId": self._unique_id(),
            "UpdatedBy": chance.choice(("front.desk@example.com", "billing@example.com")),
            "IsNew": False,
            "SystemId": chance.choice((None, None, f"EXT-{chance.randint(1, 9999)}")),
            "ToStringText": f"{name} {record_id}",
            "LocalizationDetails": None,
            "CustomFields": chance.choice(
                (None, None, {"Data": [{"Name": "Floor", "Value": "2"}]})
            ),
        }


class Ledger(Table):
    """How customers' credits were used; the allowances it names exist nowhere."""

    quantity = "CreditUsed"

    @override
    def generate(self, record_id: int) -> Record:
        chance = self._random
        created = self._moment(FIRST_DAY, days=600)
        updated = created if chance.random() < 0.7 else self._moment(created, days=60)
        booked = chance.random() < 0.9
        start, hours = self._booking(created)
        return {
            "CoworkerExtraServiceId": chance.randint(100_000, 900_000),
            "BookingId": chance.randint(1_000_000, 9_000_000) if booked else None,
            "BookingFromTime": dotnet(start) if booked else None,
            "BookingToTime": dotnet(start + timedelta(hours=hours)) if booked else None,
            "BookingResourceName": chance.choice(ROOMS) if booked else None,
            "CreditUsed": hours * 60 if booked else chance.choice((None, 0, 30, 60)),
            **self._common(record_id, LEDGER.name, created, updated),
        }
