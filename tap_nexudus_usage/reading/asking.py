"""Asking a search for what was updated from a bound on, ascending, whatever `dir` means."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from itertools import takewhile

from tap_nexudus_usage.errors import AccessError, ApiError, UnansweredError
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.nexudus.pages import Page, Record, key
from tap_nexudus_usage.reading.minutes import minute_of_record, shift, to_datetime
from tap_nexudus_usage.reading.tenant_clock import FARTHEST

logger = logging.getLogger(__name__)

DIRECTIONS = ("0", "1", "ascending")
"""What ascending is called, by the newest edition of the API and by two older ones."""

TELLING_SIZE = 25
"""Records of a page that is asked for to see in which order they come."""

DESCENDING = {"0": "1", "1": "-1", "ascending": "descending"}
"""What descending is called where ascending is called so."""

LAST_PAGE_TRIES = 3
"""Tries of the last page on transient faults: there is another way to it."""


@dataclass(frozen=True)
class Answer:
    """The first page of what was updated from the bound on."""

    bound: str
    page: Page

    @cached_property
    def minutes(self) -> list[str]:
        """The minutes of those records that have a stamp, in the order of the answer."""
        return [minute for minute in map(minute_of_record, self.page.records) if minute is not None]

    @property
    def versions(self) -> set[tuple[int, str]]:
        """Which version of which record came."""
        return set(map(_version, self.page.records))

    @property
    def latest(self) -> str:
        """The minute of the last record; raises ApiError where none has a stamp."""
        if not self.minutes:
            message = (
                "The API's search sends a whole page of records without an UpdatedOn that is a "
                "date-time, so it can't be told where to go on. Reading by Id works without"
            )
            raise ApiError(message)
        return self.minutes[-1]

    @property
    def says_more(self) -> bool:
        """Whether there is more than it shows, by one of its claims at least."""
        return self.page.has_next_page or len(self.page.records) < self.page.total_items

    @property
    def ahead(self) -> timedelta:
        """How far the clock of the bounds must be ahead of the stamps' at the least."""
        return to_datetime(self.bound) - to_datetime(self.minutes[0])

    def continues(self, before: Answer) -> bool:
        """Whether no record between the two can have been left out."""
        return bool(self.minutes) and self.minutes[0] <= before.latest

    def is_short_after(self, before: Answer) -> bool:
        """Whether it counts fewer than the one before had left, as after a deletion."""
        last = before.latest
        ended = takewhile(
            lambda record: minute_of_record(record) == last, before.page.records[::-1]
        )
        begins = takewhile(lambda record: minute_of_record(record) == last, self.page.records)
        again = len(set(map(_version, ended)) & set(map(_version, begins)))
        return self.page.total_items < before.page.total_items - len(before.page.records) + again


class Asking:
    """Asks one search after the other, and keeps in mind what ascending is called.

    Attributes:
        direction: what ascending seems to be called.
        is_direction_proven: whether an answer has shown different minutes in ascending order, or
            all other directions have shown that they aren't it.
    """

    def __init__(self, client: NexudusClient, page_size: int) -> None:
        """Begin with what the newest edition calls ascending."""
        self.page_size = page_size
        self.is_direction_proven = False
        self._client = client
        self.direction = DIRECTIONS[0]
        self._not_ascending: set[str] = set()
        self._refuses_descending = False

    def first_page(self, bound: str) -> Answer:
        """The first page from `bound` on, in ascending order to the minute, which is what counts.

        A single answer with different minutes proves the direction; a page of one minute doesn't.
        """
        while True:
            page = self._page_unless_refused(bound, self.direction)
            answer = Answer(bound, page or Page([], 0, has_next_page=False))
            minutes = answer.minutes
            check_bounds(minutes, bound)
            if page is None or minutes != sorted(minutes):
                self.is_direction_proven = False
                self._not_ascending.add(self.direction)
                self.turn_to_next()
            elif minutes[:1] < minutes[-1:]:
                self.is_direction_proven = True
                return answer
            elif self.is_direction_proven or not minutes or not answer.says_more:
                return answer
            elif (better := self._direction_with_earlier(answer)) is not None:
                self.direction = better
            else:
                return answer

    def last_page(self, bound: str, size: int) -> Answer | None:
        """The last records from `bound` on, ascending; None where that can't be asked.

        Its total is that of all from `bound` on. Whatever fails may concern this order only, and is
        raised by the next call where it doesn't; it isn't asked for again.
        """
        if self._refuses_descending:
            return None
        try:
            page = self.page(
                bound, size=size, direction=DESCENDING[self.direction], tries=LAST_PAGE_TRIES
            )
        except (AccessError, ApiError):
            self._refuses_descending = True
            return None
        return Answer(bound, replace(page, records=page.records[::-1]))

    def _direction_with_earlier(self, answer: Answer) -> str | None:
        """Another direction that ascends, or seems to: it shows an earlier record first.

        Of two answers the records may have changed in between, so that proves nothing. Where the
        page is small, a larger one of the same direction tells more than all others.
        """
        directions = [name for name in DIRECTIONS if name not in self._not_ascending]
        if self.page_size < TELLING_SIZE:
            directions.sort(key=lambda name: name != self.direction)
        else:
            directions.remove(self.direction)
        for direction in directions:
            size = max(self.page_size, TELLING_SIZE)
            page = self._page_unless_refused(answer.bound, direction, size)
            minutes = Answer(answer.bound, page).minutes if page else []
            is_ascending = minutes == sorted(minutes) and minutes[:1] < minutes[-1:]
            if direction == self.direction and is_ascending:
                self.is_direction_proven = True
                return None
            if page is None or minutes[:1] > minutes[-1:]:
                self._not_ascending.add(direction)
            elif is_ascending or answer.latest > min(minutes, default=answer.latest):
                return direction
        if self.direction in self._not_ascending:
            self.turn_to_next()
            return self.direction
        self.is_direction_proven = len(self._not_ascending) == len(DIRECTIONS) - 1
        return None

    def _page_unless_refused(
        self, bound: str, direction: str, size: int | None = None
    ) -> Page | None:
        """A page; None where a word is refused, because numbers are understood.

        Refused twice: by a single refusal, which may be one in passing, another direction would
        count as proved.
        """
        for is_last in (False, True):
            try:
                return self.page(bound, size=size, direction=direction)
            except ApiError as error:  # noqa: PERF203 - two at the most
                if direction.isdecimal() or isinstance(error, UnansweredError):
                    raise
                if is_last:
                    break
        return None

    def turn_to_next(self) -> None:
        """Take another word for ascending; raises ApiError where none is left."""
        start = DIRECTIONS.index(self.direction) + 1
        for direction in (*DIRECTIONS[start:], *DIRECTIONS[:start]):
            if direction not in self._not_ascending:
                logger.debug("Ascending seems to be called dir %s here", direction)
                self.direction = direction
                return
        message = (
            "The API's search doesn't sort by UpdatedOn, whether dir is "
            f"{' or '.join(DIRECTIONS)}. Please report it; reading by Id works without"
        )
        raise ApiError(message)

    def window(self, bound: str, until: str, number: int, size: int) -> Page:
        """A page, in the order of Ids, of what was updated between two bounds."""
        page = self.page(bound, until=until, page=number, size=size, order_by="Id")
        check_bounds(Answer(bound, page).minutes, bound, until)
        return page

    def page(
        self,
        bound: str,
        *,
        until: str | None = None,
        page: int = 1,
        size: int | None = None,
        order_by: str = "UpdatedOn",
        direction: str | None = None,
        tries: int | None = None,
    ) -> Page:
        """A page of any search; raises what `NexudusClient.search` raises."""
        return self._client.search(
            since=bound,
            until=until,
            page=page,
            size=size or self.page_size,
            order_by=order_by,
            direction=direction or self.direction,
            tries=tries,
        )


def _version(record: Record) -> tuple[int, str]:
    return key(record), repr(record.get("UpdatedOn"))


def count(client: NexudusClient, since: str | None) -> int:
    """How many records the API says were updated since a minute; None: whenever or never."""
    return client.search(since=since, size=1, direction=DIRECTIONS[0]).total_items


def check_bounds(minutes: list[str], bound: str, until: str | None = None) -> None:
    """Raise ApiError where records lie so far outside the bounds that no clock explains it."""
    too_early = min(minutes, default=bound) < shift(bound, -FARTHEST)
    if too_early or (until is not None and max(minutes, default=until) > shift(until, FARTHEST)):
        message = (
            f"The API's search doesn't keep to its bounds: asked for records from {bound} on"
            f"{f' until {until}' if until else ''}, it answers with some from {min(minutes)} to "
            f"{max(minutes)}. Please report it; reading by Id works without"
        )
        raise ApiError(message)


def not_continued(answer: Answer, following: Answer) -> ApiError:
    """The error where an answer doesn't go on where the one before ended."""
    begins = following.minutes[0] if following.minutes else "nowhere"
    return ApiError(
        f"The API's search doesn't continue where it ended: after records up to {answer.latest}, "
        f"from {following.bound} on it begins at {begins}, which no clock for the bounds explains. "
        "Try again later; if it stays, please report it; reading by Id works without"
    )
