"""Reading the whole ledger, or what changed in it, by search: a keyset on `UpdatedOn`, counted.

Pages are offsets into a live list, records with equal stamps come in any order, and bounds have
minute resolution. So the lower bound advances to the minute of the last record seen, and the first
page from there is asked for: one answer is consistent in itself, and a record that changes
meanwhile comes again at its new, later place. Ascending, because then a run that dies can be
resumed at its bookmark. Page numbers serve only within a minute that holds more than a page, see
`window`.

Nothing is taken for granted: not the order (`asking`), not the clock that bounds are read in
(`tenant_clock`), not that an answer is whole: each has to reach back to where the one before ended,
and in the end the distinct Ids have to reach the number that there is said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from itertools import repeat

from tap_nexudus_usage.errors import ApiError
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.nexudus.pages import Record
from tap_nexudus_usage.reading.asking import Answer, Asking, not_continued
from tap_nexudus_usage.reading.fetch_ahead import fetch_ahead
from tap_nexudus_usage.reading.id_set import IdSet, key
from tap_nexudus_usage.reading.minutes import BEGINNING, minute_of_record, shift
from tap_nexudus_usage.reading.tenant_clock import FARTHEST, STEP, TenantClock
from tap_nexudus_usage.reading.window import read_window

MOST_PASSES = 10
"""Readings of the whole, after which a ledger that keeps changing is given up for this run."""

MOST_FRUITLESS_PASSES = 2
"""Readings without anything new, after which what is missing isn't going to be shown."""

MOST_DOUBTS = 4
"""Answers without getting on that don't continue where the one before ended."""

MINUTE = timedelta(minutes=1)


class Search:
    """A search under way.

    Attributes:
        seen: the Ids of all records that came, due or not.
        counted: how many records the API said there are.
    """

    def __init__(self, client: NexudusClient, since: str, *, page_size: int) -> None:
        """Look for all records updated since the minute `since`."""
        self.seen = IdSet()
        self.counted = 0
        self._since = since
        # In whatever clock it is read, which isn't measured yet, it isn't too late.
        self._first_bound = max(shift(since, -FARTHEST), BEGINNING)
        self._last_bound: str | None = None
        self._asking = Asking(client, page_size)
        self._clock = TenantClock()
        self._measured_at = ""
        self._answers = 0
        self._boundary = ""
        self._looks_for_unseen = False

    def records(self, on_poll: Callable[[], None]) -> Generator[Record, None, None]:
        """Yield the records, about in order of `UpdatedOn`.

        A record comes again where answers overlap, and when it changes meanwhile. One answer is
        fetched ahead. `on_poll` is called while waiting, see `fetch_ahead`. Raises what
        `NexudusClient.search` raises, and ApiError where what came doesn't add up.
        """
        calls = repeat(partial(next, self._read(), None))
        with closing(fetch_ahead(calls, threads=1, on_poll=on_poll)) as results:
            for records in results:
                if records is None:
                    return
                yield from records

    def _read(self) -> Iterator[list[Record]]:
        """Read all, and again while distinct Ids that are said to be there haven't been seen.

        What changed since the first reading is left to the next run, which begins before that.
        """
        bound, fruitless = self._first_bound, 0
        for _ in range(MOST_PASSES):
            seen_before = len(self.seen)
            for records in self._read_from(bound):
                yield self._take(records)
            if self._agrees():
                return
            fruitless = 0 if len(self.seen) > seen_before else fruitless + 1
            if fruitless == MOST_FRUITLESS_PASSES:
                break
            self._looks_for_unseen = True
            bound = self._first_bound
            if self._last_bound is not None and self.holds_all():
                # What is missing has arrived since, or the last answer was cut short.
                bound = self._last_bound
            elif self._last_bound is not None and not self._asking.is_direction_proven:
                self._asking.turn_to_next()
        if not self.holds_all():
            message = (
                f"The API's search says that there are {self.counted} records, but has shown "
                f"{len(self.seen)}. What it has shown was emitted. Try again later; if it stays, "
                "tell Nexudus, or read by Id"
            )
            raise ApiError(message)

    def _agrees(self) -> bool:
        """Whether all came that there is, by more than a single answer's word.

        What was deleted meanwhile isn't counted the second time.
        """
        if self._answers == 1 or len(self.seen) < self.counted:
            self.counted = self._asking.page(self._first_bound, size=1).total_items
        return len(self.seen) >= self.counted

    def _take(self, records: list[Record]) -> list[Record]:
        """Those that were asked for and may be new: the overlap of two answers is left out."""
        are_unseen = self.seen.add(map(key, records))
        return [
            record
            for record, is_unseen in zip(records, are_unseen, strict=True)
            if (is_unseen or self._may_be_new(record)) and not self._comes_too_early(record)
        ]

    def _may_be_new(self, record: Record) -> bool:
        """Whether a record that was seen may be another version of it."""
        minute = minute_of_record(record)
        return not self._looks_for_unseen and minute is not None and minute >= self._boundary

    def _comes_too_early(self, record: Record) -> bool:
        """Whether a record comes only because the first bound was set back."""
        return self._first_bound < self._since and (minute_of_record(record) or "~") < self._since

    def holds_all(self) -> bool:
        """Whether the distinct Ids reach the number of records up to where the reading has come."""
        until = None if self._last_bound is None else shift(self._last_bound, MINUTE)
        page = self._asking.page(self._first_bound, until=until, size=1)
        return len(self.seen) >= page.total_items

    def _read_from(self, bound: str) -> Iterator[list[Record]]:
        """What each answer brings, as long as there is more."""
        self._answers = 0
        answer = self._ask(bound)
        if bound == self._first_bound:
            self.counted = answer.page.total_items
        yield answer.page.records
        doubts = 0
        while self._has_more(answer):
            if self._next_bound(answer) <= bound and self._may_be_farther_ahead(answer):
                self._measure(answer, answer.ahead, FARTHEST + 2 * STEP)
            if self._next_bound(answer) <= bound:
                bound, left = yield from self._read_minutes(answer)
                answer = self._ask(bound)
                if answer.page.total_items < left:
                    answer = self._ask(bound)
                yield answer.page.records
                continue
            self._boundary = answer.latest
            following = self._ask_after(answer)
            if following.continues(answer):
                bound, answer, doubts = following.bound, following, 0
                yield answer.page.records
                continue
            doubts += 1
            if doubts > MOST_DOUBTS:
                raise not_continued(answer, following)
            # What stood in that minute may have changed since, or gone.
            again = self._ask(bound)
            yield again.page.records
            if again.minutes and (doubts > 1 or again.versions == answer.versions):
                ahead = following.ahead if following.minutes else -FARTHEST
                self._measure(again, ahead, self._clock.offset)
            if again.minutes and again.latest > answer.latest:
                doubts = 0
            answer = again

    def _ask(self, bound: str) -> Answer:
        answer = self._asking.first_page(bound)
        self._answers += 1
        if answer.minutes:
            self._last_bound = max(self._last_bound or bound, self._next_bound(answer))
        return answer

    def _next_bound(self, answer: Answer) -> str:
        """The last minute seen, in the clock of the bounds."""
        return shift(answer.latest, self._clock.offset)

    def _ask_after(self, answer: Answer) -> Answer:
        """The answer from the last minute seen on; asked for twice where it counts too few."""
        following = self._ask(self._next_bound(answer))
        if following.minutes and not following.continues(answer):
            return following
        is_short = following.is_short_after(answer)
        return self._ask(following.bound) if is_short else following

    def _read_minutes(self, answer: Answer) -> Generator[list[Record], None, tuple[str, int]]:
        """Read minute after minute while these hold more than a page.

        Returns the bound to go on from, and how many records must be left at the least. A minute
        ends at the very bound with which the next begins: nothing can be between them, whatever
        the clock.
        """
        bound, left, fits = answer.bound, answer.page.total_items, False
        while not fits:
            until = shift(bound, MINUTE)
            if until == bound:
                raise not_continued(answer, answer)
            window = partial(self._asking.window, bound, until)
            total, fits = yield from read_window(window, self._asking.page_size)
            left -= total
            bound = until
        return bound, left

    def _has_more(self, answer: Answer) -> bool:
        """Whether there is more, as far as the API's claims can be trusted."""
        if len(answer.page.records) < answer.page.total_items:
            return True
        # Some servers say so for ever; an empty page tells.
        return answer.page.has_next_page and bool(self._asking.page(answer.bound, page=2).records)

    def _may_be_farther_ahead(self, answer: Answer) -> bool:
        """Whether the answer begins too early for the clock known.

        In an hour that daylight saving lets pass twice a bound may mean the first, and no offset
        helps: then the clock has been measured here already.
        """
        return answer.ahead > self._clock.offset and answer.latest != self._measured_at

    def _measure(self, answer: Answer, low: timedelta, high: timedelta) -> None:
        """Measure the clock of the bounds by the last record of an answer."""

        def reaches_back(offset: timedelta) -> bool:
            page = self._asking.page(shift(answer.latest, offset), size=1)
            minutes = Answer(answer.bound, page).minutes
            return bool(minutes) and minutes[0] <= answer.latest

        self._clock.measure(reaches_back, low, high)
        self._measured_at = answer.latest
