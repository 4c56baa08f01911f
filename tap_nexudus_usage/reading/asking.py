"""Asking a search for what was updated from a bound on, ascending, whatever `dir` means."""

from __future__ import annotations

import logging
from bisect import bisect_right
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from tap_nexudus_usage.errors import ApiError, UnansweredError
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.nexudus.pages import Page
from tap_nexudus_usage.reading.id_set import key
from tap_nexudus_usage.reading.minutes import minute_of_record, shift, to_datetime
from tap_nexudus_usage.reading.tenant_clock import FARTHEST

logger = logging.getLogger(__name__)

DIRECTIONS = ("0", "1", "ascending")
"""What ascending is called, by the newest edition of the API and by two older ones."""

MOST_TURNS = 2 * len(DIRECTIONS)
"""Changes of direction, after which the API can't be brought to sort."""


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
        return {(key(record), repr(record.get("UpdatedOn"))) for record in self.page.records}

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
        again = bisect_right(self.minutes, before.latest)
        return self.page.total_items < before.page.total_items - len(before.page.records) + again


class Asking:
    """Asks one search after the other, and keeps in mind what ascending is called.

    Attributes:
        is_direction_proven: whether an answer has shown different minutes in ascending order.
    """

    def __init__(self, client: NexudusClient, page_size: int) -> None:
        """Begin with what the newest edition calls ascending."""
        self.page_size = page_size
        self.is_direction_proven = False
        self._client = client
        self._direction = DIRECTIONS[0]
        self._turns = 0

    def first_page(self, bound: str) -> Answer:
        """The first page from `bound` on, in ascending order to the minute, which is what counts.

        A single answer with different minutes proves the direction; a page of one minute doesn't.
        """
        while True:
            answer = Answer(bound, self.page(bound))
            minutes = answer.minutes
            _check_bounds(minutes, bound)
            if minutes != sorted(minutes):
                self.is_direction_proven = False
                self.turn_to_next()
            elif minutes[:1] < minutes[-1:]:
                self.is_direction_proven = True
                return answer
            elif self.is_direction_proven or not minutes or not answer.says_more:
                return answer
            elif (better := self._direction_with_earlier(answer)) is not None:
                self._turn_to(better)
            else:
                return answer

    def _direction_with_earlier(self, answer: Answer) -> str | None:
        """Another direction that shows an earlier record first: then the one taken descends.

        Of two answers the records may have changed in between; it is proven only where the second
        shows different minutes.
        """
        for direction in DIRECTIONS:
            if direction == self._direction:
                continue
            try:
                page = self.page(answer.bound, size=max(self.page_size, 25), direction=direction)
            except UnansweredError:
                raise
            except ApiError:
                # A word where numbers are understood.
                continue
            minutes = Answer(answer.bound, page).minutes
            if minutes and (minutes[0], minutes[-1]) != (answer.latest, answer.latest):
                self.is_direction_proven = minutes[0] != minutes[-1]
                return direction if min(minutes[0], minutes[-1]) < answer.latest else None
        return None

    def turn_to_next(self) -> None:
        """Take the next word for ascending; raises ApiError where each was tried twice."""
        self._turn_to(DIRECTIONS[(DIRECTIONS.index(self._direction) + 1) % len(DIRECTIONS)])

    def _turn_to(self, direction: str) -> None:
        """Take another direction for ascending; raises ApiError where none seems to be."""
        self._turns += 1
        if self._turns > MOST_TURNS:
            message = (
                "The API's search doesn't sort by UpdatedOn, whether dir is "
                f"{' or '.join(DIRECTIONS)}. Please report it; reading by Id works without"
            )
            raise ApiError(message)
        self._direction = direction
        logger.debug("Ascending seems to be called dir %s here", direction)

    def window(self, bound: str, until: str, number: int, size: int) -> Page:
        """A page, in the order of Ids, of what was updated between two bounds."""
        page = self.page(bound, until=until, page=number, size=size, order_by="Id")
        _check_bounds(Answer(bound, page).minutes, bound, until)
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
    ) -> Page:
        """A page of any search; raises what `NexudusClient.search` raises."""
        return self._client.search(
            since=bound,
            until=until,
            page=page,
            size=size or self.page_size,
            order_by=order_by,
            direction=direction or self._direction,
        )


def count(client: NexudusClient, since: str | None) -> int:
    """How many records the API says were updated since a minute; None: whenever or never."""
    return client.search(since=since, size=1, direction=DIRECTIONS[0]).total_items


def _check_bounds(minutes: list[str], bound: str, until: str | None = None) -> None:
    """Raise ApiError where records lie so far outside the bounds that no clock explains it."""
    too_early = min(minutes, default=bound) < shift(bound, -FARTHEST)
    if too_early or (until is not None and max(minutes, default=until) > shift(until, FARTHEST)):
        message = (
            f"The API's search doesn't keep to its bounds: asked for records from {bound} on"
            f"{f' until {until}' if until else ''}, it answers with some from {min(minutes)} to "
            f"{max(minutes)}. Please report it; reading by Id works without"
        )
        raise ApiError(message)
