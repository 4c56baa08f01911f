"""Reading the whole ledger, or what changed in it, by search: a keyset on `UpdatedOn`.

Pages are offsets into a live list, and bounds have minute resolution. So the lower bound advances
to the minute of the last record seen, where the first page is asked for again: one answer is
consistent in itself, and a record that changes meanwhile comes again at its new, later place. Page
numbers serve only within a single minute that holds more than a page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta
from functools import partial

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.errors import ApiError
from tap_nexudus_usage.nexudus.client import NexudusClient, Page, Record
from tap_nexudus_usage.reading.fetch_ahead import fetch_ahead

logger = logging.getLogger(__name__)

BEGINNING = "1753-01-01T00:00"
"""The earliest minute that any edition's database can hold."""

DIRECTIONS = (0, 1)
"""What ascending is called, by the newest edition of the API and by an older one."""

MOST_TURNS = 6
"""Changes of direction without getting on, after which the API can't be brought to sort."""


def read_by_search(
    client: NexudusClient, since: str, *, page_size: int, on_poll: Callable[[], None]
) -> Generator[Record, None, None]:
    """Yield all records updated since the minute `since`, about in order of `UpdatedOn`.

    A record comes again wherever pages overlap, and when it changes meanwhile. One page is fetched
    ahead. `on_poll` is called while waiting, see `fetch_ahead`. Raises what `NexudusClient.search`
    raises, and ApiError where the API can't be brought to sort.
    """
    search = Search(client, since, page_size)
    with closing(fetch_ahead(search.calls(), threads=1, on_poll=on_poll)) as pages:
        for records in pages:
            yield from records


class Search:
    """Where a search is. Its calls have to be run one after the other."""

    def __init__(self, client: NexudusClient, since: str, page_size: int) -> None:
        """Begin at the minute `since`."""
        self._client = client
        self._since = since
        self._size = page_size
        self._direction = DIRECTIONS[0]
        self._is_direction_proven = False
        self._turns = 0
        self._crowd: _Crowd | None = None
        self._done = False

    def calls(self) -> Iterator[Callable[[], list[Record]]]:
        """Calls that each give some more records, until there are no more."""
        while not self._done:
            yield self._next_page

    def _next_page(self) -> list[Record]:
        # A call may have been handed out before the one that turned out to be the last.
        if self._done:
            return []
        return self._next_of_minute(self._crowd) if self._crowd else self._next_of_all()

    def _next_of_all(self) -> list[Record]:
        """The first page from the lower bound, which then advances."""
        page = self._ask(self._since)
        stamps = _stamps(page)
        if not page.has_next_page:
            self._done = True
        elif not stamps or stamps[0] < self._since:
            message = (
                "The API's search doesn't keep to its bounds: a page from "
                f"{self._since} on holds no record of that time, but says that more follow"
            )
            raise ApiError(message)
        elif minute_of(stamps[-1]) == self._since:
            self._crowd = _Crowd(self._since)
        elif not self._is_direction_proven and self._has_records_before(minute_of(stamps[0])):
            self._turn_round()
            return []
        else:
            self._since = minute_of(stamps[-1])
            self._turns = 0
        return page.records

    def _next_of_minute(self, crowd: _Crowd) -> list[Record]:
        """The next page of a minute that holds more than one, over and over until all is seen."""
        page = self._ask(crowd.minute, until=minute_after(crowd.minute), number=crowd.page)
        if crowd.is_complete_with(page):
            self._since = minute_after(crowd.minute)
            self._crowd = None
        return page.records

    def _ask(self, since: str, until: str | None = None, number: int = 1) -> Page:
        """A page whose records don't show another order than ascending.

        A single answer with different stamps proves the direction; a page of equal stamps doesn't.
        """
        while True:
            page = self._search(since, until, number, self._direction)
            stamps = _stamps(page)
            if stamps == sorted(stamps):
                self._is_direction_proven = self._is_direction_proven or stamps[:1] < stamps[-1:]
                return page
            self._is_direction_proven = False
            self._turn_round()

    def _has_records_before(self, minute: str) -> bool:
        """Whether a page of equal stamps hides earlier records, because the order is descending.

        Each direction is asked, since one of them shows the earliest record first.
        """
        for direction in DIRECTIONS:
            page = self._search(self._since, minute, 1, direction)
            if any(minute_of(stamp) < minute for stamp in _stamps(page)):
                return True
            if not page.total_items:
                return False
        return False

    def _turn_round(self) -> None:
        """Take the other direction for ascending; raises ApiError where neither seems to be.

        A record that comes in late, with an earlier stamp, can make the right one look wrong. Then
        this comes again.
        """
        self._turns += 1
        if self._turns > MOST_TURNS:
            message = (
                f"The API's search doesn't sort by UpdatedOn, with dir {DIRECTIONS[0]} no more "
                f"than with dir {DIRECTIONS[1]}"
            )
            raise ApiError(message)
        self._direction = DIRECTIONS[1 - DIRECTIONS.index(self._direction)]
        logger.debug("Ascending seems to be called dir %d here", self._direction)

    def _search(self, since: str, until: str | None, page: int, direction: int) -> Page:
        return self._client.search(
            since=since, until=until, page=page, size=self._size, direction=direction
        )


class _Crowd:
    """A minute that holds more than a page, read in passes until one finds nothing new.

    A record that changes or goes during a pass can move another across a page's edge, unseen; the
    next pass sees it. What leaves the minute shows in the number of records, what enters is new.
    """

    def __init__(self, minute: str) -> None:
        """Begin the first pass."""
        self.minute = minute
        self.page = 1
        self._seen: set[tuple[object, object]] = set()
        self._totals: set[int] = set()
        self._found_new = False

    def is_complete_with(self, page: Page) -> bool:
        """Take note of the page that was asked for; True when nothing can be hidden any more."""
        versions = {(record.get("Id"), record.get("UpdatedOn")) for record in page.records}
        self._found_new = self._found_new or not versions <= self._seen
        self._seen |= versions
        self._totals.add(page.total_items)
        if page.has_next_page:
            self.page += 1
            return False
        complete = not self._found_new and len(self._totals) == 1
        self.page = 1
        self._totals.clear()
        self._found_new = False
        return complete


def minute_of(stamp: str) -> str:
    """The minute of a canonical date-time, as the API's bounds are written."""
    return stamp[: len(BEGINNING)]


def minute_after(minute: str) -> str:
    """The minute after a minute."""
    later = datetime.fromisoformat(minute) + timedelta(minutes=1)
    return later.isoformat(timespec="minutes")


def _stamps(page: Page) -> list[str]:
    """The canonical stamps of those records that have one."""
    stamps = []
    for record in page.records:
        # What isn't a date-time is for the schema's check to report.
        with suppress(TypeError, ValueError):
            stamps.append(timestamps.canonical(record["UpdatedOn"]))
    return stamps


def finds_everything(client: NexudusClient, *, on_poll: Callable[[], None]) -> bool:
    """Whether there is no record that a search by `UpdatedOn` can't find, for want of one."""

    def count(since: str | None) -> int:
        page = client.search(since=since, size=1, direction=DIRECTIONS[0])
        return page.total_items

    # In this order, so that a record deleted in between looks like one too many, not one too few.
    calls = [partial(count, None), partial(count, BEGINNING)]
    total, found = fetch_ahead(calls, threads=1, on_poll=on_poll)
    return total <= found
