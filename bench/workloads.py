"""What is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Contender = Literal["tap", "airbyte", "floor", "by-the-book"]

CONTENDERS: Sequence[Contender] = ("tap", "airbyte", "floor", "by-the-book")

MOST_BY_THE_BOOK = 2_000
"""Ids; the SDK's time for partitions grows with their square."""


@dataclass(frozen=True)
class Workload:
    """One reading of a ledger, or of a ledger and allowances.

    Attributes:
        records: how many the ledger has, all of which are read.
        by: reading by Id or by search.
        allowances: how many there are, of which those are read that the ledger names, or by search
            all; None: the ledger alone is read.
        batch_size: Ids for each call; 1 means "get one".
        latency: seconds before each answer.
        tls: over TLS, as Nexudus is read.
        time_scale: how long a second of the throttle lasts, in seconds; None: no throttle.
        changes: read once, unmeasured; change so many records; then measure reading again. All of
            them are changed as a bulk change does, stamped within an hour.
        once: measured once only, since the throttle takes all of the time, and much of it.
        long: takes minutes, so only where it is asked for.
    """

    name: str
    records: int
    by: Literal["id", "search"] = "id"
    allowances: int | None = None
    batch_size: int = 200
    latency: float = 0.0
    tls: bool = False
    time_scale: float | None = None
    changes: int | None = None
    once: bool = False
    long: bool = False

    @property
    def is_about_cpu(self) -> bool:
        """Whether neither latency nor the throttle decide how long it takes."""
        return not self.latency and self.time_scale is None

    def why_not(self, contender: Contender) -> str | None:
        """Why a contender can't run, or None."""
        if contender == "airbyte":
            return None if self.time_scale is None else "paced as the tap is"
        return self._why_not_by_the_book() if contender == "by-the-book" else None

    def _why_not_by_the_book(self) -> str | None:
        if self.allowances is not None:
            return "knows the ledger only"
        if self.tls:
            return "trusts certifi's authorities only"
        if self.by == "search":
            return "reads by Id only"
        if self.changes is not None:
            return "emits everything again"
        if self.records > MOST_BY_THE_BOOK:
            return f"more than {MOST_BY_THE_BOOK:,} Ids"
        is_batched = self.batch_size > 1 and not self.is_about_cpu
        return "one by one only" if is_batched else None


TENTH = 0.1

NAMES_3000 = 13_000
"""Allowances, of which 20,000 records name a bit less than 3,000: most are charges of bookings."""

ALL: Sequence[Workload] = (
    # Under the published limits, second for second.
    Workload("paced-by-id-20000", 20_000, time_scale=1.0, once=True),
    Workload("paced-search-50000", 50_000, "search", time_scale=1.0, once=True),
    Workload(
        "paced-tls-80ms-by-id-20000", 20_000, latency=0.08, tls=True, time_scale=1.0, once=True
    ),
    Workload("by-id-500", 500),
    Workload("by-id-2000", 2_000),
    Workload("by-id-20000", 20_000),
    Workload("by-id-200000", 200_000, long=True),
    Workload("search-50000", 50_000, "search"),
    Workload("search-500000", 500_000, "search", long=True),
    Workload("bulk-change-500000", 500_000, "search", changes=500_000, long=True),
    Workload("rerun-by-id-20000-unchanged", 20_000, changes=0),
    Workload("rerun-by-id-20000-10-changed", 20_000, changes=10),
    Workload("rerun-search-50000-unchanged", 50_000, "search", changes=0),
    Workload("rerun-search-50000-10-changed", 50_000, "search", changes=10),
    Workload("both-by-id-20000", 20_000, allowances=NAMES_3000),
    Workload("both-search-50000", 50_000, "search", 20_000),
    Workload("rerun-both-by-id-20000-unchanged", 20_000, allowances=NAMES_3000, changes=0),
    Workload("rerun-both-search-50000-unchanged", 50_000, "search", 20_000, changes=0),
    Workload("latency-80ms-500", 500, latency=0.08),
    Workload("latency-80ms-500-one-by-one", 500, latency=0.08, batch_size=1, long=True),
    Workload("throttled-300", 300, time_scale=TENTH),
    Workload("throttled-300-one-by-one", 300, time_scale=TENTH, batch_size=1, once=True),
    Workload("throttled-3000", 3_000, time_scale=TENTH),
    Workload(
        "throttled-3000-one-by-one", 3_000, time_scale=TENTH, batch_size=1, once=True, long=True
    ),
)

DEFAULT: Sequence[Workload] = tuple(workload for workload in ALL if not workload.long)
"""Ten minutes."""

QUICK: Sequence[Workload] = (
    Workload("by-id-40", 40),
    Workload("bulk-change-3000", 3_000, "search", changes=3_000),
    Workload("both-by-id-40", 40, allowances=30),
    Workload("rerun-both-search-60-10-changed", 60, "search", 30, changes=10),
    Workload("throttled-8-one-by-one", 8, time_scale=0.05, batch_size=1),
    Workload("throttled-tls-40", 40, tls=True, time_scale=0.05, batch_size=8),
)
