"""In which clock a tenant reads the bounds of a search, measured where it shows.

Stated nowhere by Nexudus: a bound may be read as UTC, as the stamps are, or as the wall clock of a
location, daylight saving included.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from tap_nexudus_usage.errors import ApiError

logger = logging.getLogger(__name__)

STEP = timedelta(minutes=15)
"""All offsets from UTC that are in use are multiples of it."""

FARTHEST = timedelta(hours=14)
"""No clock is farther from UTC, east or west."""


class TenantClock:
    """How far the clock of the bounds is ahead of the stamps', as far as is known."""

    def __init__(self) -> None:
        """Begin with the stamps' own clock."""
        self.offset = timedelta(0)

    def measure(
        self, reaches_back: Callable[[timedelta], bool], low: timedelta, high: timedelta
    ) -> None:
        """Find the greatest offset at which a bound still reaches back to a record that is known.

        `low` is one that does, `high` one that doesn't; `reaches_back` asks the API. Where the
        record has gone meanwhile, the offset found is too small: bounds then reach back too far,
        never too little. Raises ApiError where bounds reach back whatever the offset.
        """
        first, last = -(-low // STEP), -(-high // STEP)
        first = max(first, -(FARTHEST // STEP))
        # Often the record that gave `low` away comes shortly after the bound, so that it is it.
        if first + 1 < last and not reaches_back((first + 1) * STEP):
            last = first + 1
        while last - first > 1:
            middle = (first + last) // 2
            if reaches_back(middle * STEP):
                first = middle
            else:
                last = middle
        if first * STEP > FARTHEST:
            message = (
                "The API's search doesn't keep to its bounds: whatever the lower one, records from "
                "before it come. Please report it; reading by Id works without"
            )
            raise ApiError(message)
        if first * STEP != self.offset:
            self.offset = first * STEP
            logger.info("The API reads the bounds of a search in the clock UTC%s", self)

    def __str__(self) -> str:
        """The offset from UTC, as in `+05:45`."""
        minutes = self.offset // timedelta(minutes=1)
        hours, rest = divmod(abs(minutes), 60)
        return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"
