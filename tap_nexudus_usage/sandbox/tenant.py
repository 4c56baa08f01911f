"""How a tenant reads what Nexudus's documents leave open, and what its servers get wrong."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Literal

from tap_nexudus_usage.sandbox import literals
from tap_nexudus_usage.sandbox.throttle import Counting, ThrottleAnswer

DirReading = Literal["new", "old", "words"]
"""What `dir` means. New: 0 is ascending, 1 descending. Old: 1 is ascending, others descending.
Words: `ascending` and `descending`; numbers are ignored, which leaves descending here."""

GetManyForm = Literal["array", "filter"]
"""How Ids are asked for, many at once: `/?id=[…]`, or `?…_Id=[…]`."""

NextPage = Literal["rightly", "always", "never", "null"]

Ties = Literal["by_id", "turning", "random"]
"""In which order records with equal stamps come: by Id; upwards on odd pages and downwards on even
ones; another one for each answer."""

_STAMP = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z"')


@dataclass
class Tenant:
    """The readings and the faults of a tenant; by default those of the newest edition, and none.

    Attributes:
        dir_reading: what the search's `dir` means.
        clock: in which time zone the bounds of a search are read.
        page_cap: records that a search page has at most, whatever `size` says.
        cap_is_silent: pages are counted, and HasNextPage worked out, by the size asked for.
        ties: in which order records with equal stamps come.
        sorts_by: how much of a stamp counts in sorting; then comes the Id.
        has_next_page: `always` is said of every page, `never` and `null` likewise.
        estimates: TotalItems is a guess, another one each time.
        counts_page_only: TotalItems is the number of records on the page.
        ignored: names of parameters that are ignored without a word.
        get_many_forms: which forms of get many are understood; another one is an ignored parameter.
        blank_in_lists: text fields that lists leave empty.
        lists: which answers are lists: the pages of the search and of get many's form `filter`,
            which are alike, or the arrays of the other form, too.
        stamps_end_in_z: whether date-times are written with their `Z`.
        throttle_answer: 409 with Retry-After, as documented, or 429 with the wait in the body's
            text only, as third-party clients have seen.
        throttle_counting: how calls are counted.
        missing_role_status: what a user without the role is answered: 401, as documented, or 403.
        token_status: what a login that goes well is answered.
        refused_login_status: what one that doesn't is answered.
        byte_order_mark: put one before each JSON answer, as some proxies do.
    """

    dir_reading: DirReading = "new"
    clock: tzinfo = timezone.utc
    page_cap: int = 1_000
    cap_is_silent: bool = False
    ties: Ties = "by_id"
    sorts_by: Literal["ticks", "milliseconds"] = "ticks"
    has_next_page: NextPage = "rightly"
    estimates: bool = False
    counts_page_only: bool = False
    ignored: frozenset[str] = frozenset()
    get_many_forms: frozenset[GetManyForm] = frozenset({"array", "filter"})
    blank_in_lists: frozenset[str] = frozenset()
    lists: Literal["pages", "pages and arrays"] = "pages"
    stamps_end_in_z: bool = True
    throttle_answer: ThrottleAnswer = 409
    throttle_counting: Counting = "sliding"
    missing_role_status: int = 401
    token_status: int = 200
    refused_login_status: int = 400
    byte_order_mark: bool = False
    chance: random.Random = field(
        default_factory=lambda: random.Random(1)  # noqa: S311 - data, no secret
    )

    def is_descending(self, direction: str | None) -> bool:
        """Whether a `dir` asks for descending order; raises ValueError where it is refused."""
        if self.dir_reading == "words":
            return direction != "ascending"
        if direction is None:
            return False
        return int(direction) != (0 if self.dir_reading == "new" else 1)

    def to_utc(self, bound: datetime) -> datetime:
        """The moment that a bound means, which has no zone itself."""
        return bound.replace(tzinfo=self.clock).astimezone(timezone.utc)

    def shows(self, record: bytes, *, in_array: bool = False, in_page: bool = False) -> bytes:
        """A record, as JSON, as it is answered alone, in an array or in a page."""
        if self.blank_in_lists and (in_page or (in_array and self.lists != "pages")):
            fields = literals.decode(record)
            record = literals.encode(fields | dict.fromkeys(self.blank_in_lists))
        return record if self.stamps_end_in_z else _STAMP.sub(rb'"\1"', record)

    def says_next_page(self, *, follows: bool) -> bool | None:
        """What HasNextPage is said to be."""
        if self.has_next_page == "rightly":
            return follows
        return {"always": True, "never": False}.get(self.has_next_page)

    def says_total(self, total: int, shown: int) -> int:
        """What TotalItems is said to be."""
        if self.counts_page_only:
            return shown
        return max(total + self.chance.choice((-2, -1, 1, 2)), 0) if self.estimates else total


def offset(hours: float) -> tzinfo:
    """A clock so many hours ahead of UTC."""
    return timezone(timedelta(hours=hours))
