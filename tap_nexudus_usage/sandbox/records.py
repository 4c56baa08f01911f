"""A ledger of usage records, generated from a seed, that can be changed while it is served."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

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


class Ledger:
    """Records by Id; the same seed and count give the same ledger."""

    def __init__(self, count: int, seed: int = 1) -> None:
        """Generate `count` records with sparse Ids of eight digits."""
        self._random = random.Random(seed)  # noqa: S311 - data, no secret
        self._records: dict[int, Record] = {}
        for record_id in sorted(self._random.sample(range(10_000_000, 100_000_000), count)):
            self._records[record_id] = self._generate(record_id)

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._records)

    def __iter__(self) -> Iterator[int]:
        """The Ids, oldest first."""
        return iter(list(self._records))

    def get(self, record_id: int) -> Record | None:
        """The record with this Id, as the API sends it."""
        return self._records.get(record_id)

    def change(self, record_id: int, **fields: Any) -> Record:
        """Set fields of a record; `UpdatedOn` becomes now unless it is among them."""
        changed = {**self._records[record_id], "UpdatedOn": _now(), "IsNew": False, **fields}
        self._records[record_id] = changed
        return changed

    def delete(self, record_id: int) -> None:
        """Delete a record."""
        del self._records[record_id]

    def insert(self, record_id: int | None = None, **fields: Any) -> Record:
        """Add a record, with the next free Id unless one is given."""
        if record_id is None:
            record_id = max(self._records, default=9_999_999) + self._random.randint(1, 50)
        now = _now()
        self._records[record_id] = {
            **self._generate(record_id),
            "CreatedOn": now,
            "UpdatedOn": now,
            "IsNew": True,
            **fields,
        }
        return self._records[record_id]

    def _generate(self, record_id: int) -> Record:
        chance = self._random
        created = self._moment(FIRST_DAY, days=600)
        updated = created if chance.random() < 0.7 else self._moment(created, days=60)
        booked = chance.random() < 0.9
        start = (created + timedelta(days=chance.randint(0, 30))).replace(
            minute=chance.choice((0, 15, 30, 45)), second=0, microsecond=0
        )
        hours = chance.choice((1, 1, 2, 3, 8))
        return {
            "CoworkerExtraServiceId": chance.randint(100_000, 900_000),
            "BookingId": chance.randint(1_000_000, 9_000_000) if booked else None,
            "BookingFromTime": dotnet(start) if booked else None,
            "BookingToTime": dotnet(start + timedelta(hours=hours)) if booked else None,
            "BookingResourceName": chance.choice(ROOMS) if booked else None,
            "CreditUsed": hours * 60 if booked else chance.choice((None, 0, 30, 60)),
            "Id": record_id,
            "UpdatedOn": dotnet(updated, chance.choice((0, 0, 7))),
            "CreatedOn": dotnet(created),
            "UniqueId": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "UpdatedBy": chance.choice(("front.desk@example.com", "billing@example.com")),
            "IsNew": False,
            "SystemId": chance.choice((None, None, f"EXT-{chance.randint(1, 9999)}")),
            "ToStringText": f"CoworkerExtraServiceUseHistory {record_id}",
            "LocalizationDetails": None,
            "CustomFields": chance.choice(
                (None, None, {"Data": [{"Name": "Floor", "Value": "2"}]})
            ),
        }

    def _moment(self, after: datetime, *, days: int) -> datetime:
        """A moment within `days` after another, with a fraction of any length, often none."""
        seconds = self._random.randrange(days * 86_400)
        digits = self._random.choice((0, 0, 1, 2, 3, 4, 5, 6))
        microseconds = self._random.randrange(10**digits) * 10 ** (6 - digits)
        return after.replace(microsecond=0) + timedelta(seconds=seconds, microseconds=microseconds)


def _now() -> str:
    return dotnet(datetime.now(timezone.utc))
