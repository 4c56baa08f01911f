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

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.errors import UncountedError
from tap_nexudus_usage.id_set import IdSet
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.nexudus.pages import Record, key
from tap_nexudus_usage.reading.asking import Answer, Asking, count, not_continued
from tap_nexudus_usage.reading.fetch_ahead import fetch_ahead
from tap_nexudus_usage.reading.last_page import ask_for_end
from tap_nexudus_usage.reading.minutes import BEGINNING, minute_of, minute_of_record, shift
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
        is_short: whether, by that number, some were left out that may be older than all that came.
        is_whole: whether, by that number, all came.
    """

    def __init__(self, client: NexudusClient, since: str, *, page_size: int) -> None:
        """Look for all records updated since the minute `since`."""
        self.seen = IdSet()
        self.counted = 0
        self.is_short = self.is_whole = False
        self._since = since
        # In whatever clock it is read, which isn't measured yet, it isn't too late.
        self._first_bound = max(shift(since, -FARTHEST), BEGINNING)
        self._last_bound: str | None = None
        self._client = client
        self._asking = Asking(client, page_size)
        self._clock = TenantClock()
        self._measured_at = ""
        self._counted_first = 0
        self._is_counted = False
        self._latest = self._boundary = self._asked_at = ""

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
                    # No sooner: what was left out may be among what was fetched ahead.
                    self.is_short, self.is_whole = False, True
                    return
                yield from records

    def _read(self) -> Iterator[list[Record]]:
        """Read all, and again while fewer distinct Ids have come than there are said to be.

        What is counted at the end is another answer's word than the first's. Where only the first
        said more, that was deleted meanwhile, if a second reading brings nothing new.
        """
        bound, fruitless = self._first_bound, 0
        for _ in range(MOST_PASSES):
            seen_before = len(self.seen)
            self._is_counted = False
            for records in self._read_from(bound):
                yield self._take(records)
            self._set_boundary()
            if not self._is_counted:
                # Whatever ascending is called: it may not be known yet.
                self.counted = count(self._client, self._first_bound)
            if len(self.seen) >= max(self.counted, self._counted_first):
                return
            self.is_short = self.is_short or len(self.seen) < self.counted
            is_whole, is_fruitless = bound == self._first_bound, len(self.seen) == seen_before
            if is_whole and is_fruitless and seen_before:
                fruitless += 1
                if len(self.seen) >= self.counted:
                    return
                if fruitless == MOST_FRUITLESS_PASSES:
                    break
            bound = self._next_start(may_have_arrived=is_whole or not is_fruitless)
        self.is_short = True
        message = (
            f"The API's search says that there are {self.counted} records, but has shown "
            f"{len(self.seen)}. What it has shown was emitted. Try again later; if it stays, tell "
            "Nexudus, or read by Id"
        )
        raise UncountedError(message)

    def _next_start(self, *, may_have_arrived: bool) -> str:
        """Where to read again: where the last answer ended, as more may have come; or all."""
        if self._last_bound is None:
            return self._first_bound
        if may_have_arrived and len(self.seen) < self.counted:
            return self._last_bound
        if not self._asking.is_direction_proven:
            self._asking.turn_to_next()
        return self._first_bound

    def _take(self, records: list[Record]) -> list[Record]:
        """Those that were asked for and may be new: the overlap of two answers is left out."""
        are_unseen = self.seen.add(map(key, records))
        for last in records[-1:]:
            self._latest = max(self._latest, minute_of_record(last) or "")
        return [
            record
            for record, is_unseen in zip(records, are_unseen, strict=True)
            if (is_unseen or self._may_be_new(record)) and not self._comes_too_early(record)
        ]

    def _may_be_new(self, record: Record) -> bool:
        """Whether a record that was seen may be another version of it."""
        minute = minute_of_record(record)
        return minute is not None and minute >= self._boundary

    def _set_boundary(self) -> None:
        """What is stamped before it was read; changes come after, though before the future."""
        self._boundary = max(self._boundary, min(self._latest, self._asked_at))

    def _comes_too_early(self, record: Record) -> bool:
        """Whether a record comes only because the first bound was set back."""
        return self._first_bound < self._since and (minute_of_record(record) or "~") < self._since

    def _read_from(self, bound: str) -> Iterator[list[Record]]:
        """What each answer brings, as long as there is more."""
        answer = self._ask(bound)
        if bound == self._first_bound:
            self._counted_first = max(self._counted_first, answer.page.total_items)
        yield self._shown(answer)
        doubts = 0
        while answer.minutes and self._has_more(answer):
            if self._next_bound(answer) <= bound and self._may_be_farther_ahead(answer):
                self._measure(answer, answer.ahead, FARTHEST + 2 * STEP)
            if self._next_bound(answer) <= bound:
                bound, answer = yield from self._read_minutes(answer)
                continue
            self._set_boundary()
            end = ask_for_end(self._asking, self._first_bound, answer, len(self.seen))
            if end:
                self._is_counted, self.counted = True, end.page.total_items
                yield end.page.records
                return
            following = self._ask(self._next_bound(answer))
            continues, doubts = following.continues(answer), doubts + 1
            is_sound = continues and not following.is_short_after(answer)
            if is_sound or (continues and doubts > MOST_DOUBTS):
                bound, answer, doubts = following.bound, following, 0
                yield self._shown(answer)
                continue
            if doubts > MOST_DOUBTS:
                raise not_continued(answer, following)
            again = yield from self._look_again(bound, answer, following, is_first=doubts == 1)
            if again.minutes and again.latest > answer.latest:
                doubts = 0
            answer = again

    def _look_again(
        self, bound: str, answer: Answer, following: Answer, *, is_first: bool
    ) -> Generator[list[Record], None, Answer]:
        """Ask for an answer again, after another that doesn't continue it, or counts too few.

        Records may have changed since, or gone, or have been left out in passing; else, where it
        isn't continued, it is the clock.
        """
        again = self._ask(bound)
        yield self._shown(again)
        is_same = again.versions == answer.versions
        if again.minutes and not following.continues(answer) and (is_same or not is_first):
            ahead = following.ahead if following.minutes else -FARTHEST
            self._measure(again, ahead, self._clock.offset)
        return again

    def _ask(self, bound: str) -> Answer:
        self._asked_at = minute_of(timestamps.now())
        return self._asking.first_page(bound)

    def _shown(self, answer: Answer) -> list[Record]:
        """The records of an answer that is taken: so far all has been read."""
        if answer.minutes:
            self._last_bound = max(self._last_bound or answer.bound, self._next_bound(answer))
        return answer.page.records

    def _next_bound(self, answer: Answer) -> str:
        """The last minute seen, in the clock of the bounds."""
        return shift(answer.latest, self._clock.offset)

    def _read_minutes(self, answer: Answer) -> Generator[list[Record], None, tuple[str, Answer]]:
        """Read minute after minute while these hold more than a page.

        Returns the bound from which it goes on, and the answer. A minute ends at the very bound
        with which the next begins: nothing can be between them, whatever the clock.
        """
        bound, left, fits = answer.bound, answer.page.total_items, False
        while not fits:
            until = shift(bound, MINUTE)
            if until == bound:
                raise not_continued(answer, answer)
            window = partial(self._asking.window, bound, until)
            seen_before = len(self.seen)
            total, fits = yield from read_window(window, self._asking.page_size)
            # More than a page, but of records from elsewhere: the bounds aren't kept.
            fits = fits or len(self.seen) == seen_before
            left -= total
            bound = until
        answer = self._ask(bound)
        if answer.page.total_items < left:
            answer = self._ask(bound)
        yield self._shown(answer)
        return bound, answer

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
