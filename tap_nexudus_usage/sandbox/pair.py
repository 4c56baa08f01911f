"""A ledger and the allowances it names, from one seed, which fit each other."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from typing_extensions import override

from tap_nexudus_usage.sandbox.allowances import MINUTES, Allowances
from tap_nexudus_usage.sandbox.records import Ledger, Record, stamp_key, utc_now

GONE = 0.1
"""Of the uses: those of an allowance that Nexudus has deleted."""

TRIES = 5
"""How often a credit is drawn until one is that hasn't expired."""


def tenant_tables(
    records: int, allowances: int, seed: int = 1, *, now: Callable[[], datetime] = utc_now
) -> tuple[Ledger, Allowances]:
    """A ledger of so many records, and the allowances that they use."""
    table = Allowances(allowances, seed, now=now)
    return PairedLedger(records, table, seed, now=now), table


class PairedLedger(Ledger):
    """Uses of credits that are in a table, or were: what is used is no longer left.

    Only new uses count: a record that is changed or deleted later leaves its allowance as it is.
    But for which allowance and how much of it, the records are those of a `Ledger` of that seed.
    """

    def __init__(
        self,
        count: int,
        allowances: Allowances,
        seed: int = 1,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Generate `count` uses, and take them off the allowances."""
        self._allowances = allowances
        # Another chance than the records', which are to be those of the ledger alone.
        self._choice = random.Random(f"uses {seed}")  # noqa: S311 - data, no secret
        self._time = _Credits(allowances.credits(printing=False))
        self._printing = _Credits(allowances.credits(printing=True))
        super().__init__(count, seed, now=now)
        self._take_off_all()

    @override
    def insert(self, record_id: int | None = None, **fields: Any) -> Record:
        """Add a record, and take what it uses off its allowance."""
        named = self._allowances.get(fields.get("CoworkerExtraServiceId", 0))
        if named is not None:
            fields = {"CreditUsed": self._amount(named, minutes=60), **fields}
        inserted = super().insert(record_id, **fields)
        allowance = self._allowances.get(inserted["CoworkerExtraServiceId"])
        if allowance is not None:
            left = allowance["RemainingUses"]
            if left is not None:
                left -= inserted["CreditUsed"] or 0
            self._allowances.change(allowance["Id"], RemainingUses=left)
        return inserted

    @override
    def generate(self, record_id: int) -> Record:
        record = super().generate(record_id)
        chance = self._choice
        prints = record["BookingId"] is None and chance.random() < 0.7
        credits_of_sort = self._printing if prints else self._time
        allowance = self._allowances.get(credits_of_sort.valid_at(record["CreatedOn"], chance))
        if allowance is None or chance.random() < GONE:
            # As the ledger alone has it: what it names is in no table.
            return record
        record["CoworkerExtraServiceId"] = allowance["Id"]
        record["CreditUsed"] = self._amount(allowance, record["CreditUsed"])
        return record

    def _amount(self, allowance: Record, minutes: int | None) -> int | None:
        """How much is used of an allowance, in its unit."""
        if allowance["ExtraServiceIsPrintingCredit"]:
            return self._choice.randint(1, 40)
        return minutes if allowance["ChargePeriod"] == MINUTES else self._choice.randint(1, 3)

    def _take_off_all(self) -> None:
        """Take all uses off the allowances, each of which is touched once, by the last of them."""
        used: Counter[int] = Counter()
        last: dict[int, str] = {}
        for record in self._records.values():
            allowance_id, created = record["CoworkerExtraServiceId"], record["CreatedOn"]
            used[allowance_id] += record["CreditUsed"] or 0
            last[allowance_id] = max(last.get(allowance_id, created), created, key=stamp_key)
        for allowance_id, moment in last.items():
            allowance = self._allowances.get(allowance_id)
            if allowance is None:
                continue
            total = allowance["TotalUses"]
            while total < used[allowance_id]:
                total *= 2
            self._allowances.change(
                allowance_id,
                TotalUses=total,
                RemainingUses=total - used[allowance_id],
                UpdatedOn=max(allowance["UpdatedOn"], moment, key=stamp_key),
            )


class _Credits:
    """When each credit of a sort could be used; they themselves change."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._from = [stamp_key(record["CreatedOn"]) for record in records]
        self._until = [stamp_key(record["ExpireDate"] or "9999") for record in records]
        self._ids = [int(record["Id"]) for record in records]

    def valid_at(self, stamp: str, chance: random.Random) -> int:
        """The Id of one that could be used at a moment; 0 where none is found."""
        moment = stamp_key(stamp)
        earlier = bisect_right(self._from, moment)
        for _ in range(TRIES if earlier else 0):
            drawn = chance.randrange(earlier)
            if self._until[drawn] > moment:
                return self._ids[drawn]
        return 0
