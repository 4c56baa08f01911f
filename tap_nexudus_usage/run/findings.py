"""What `--test` says of what it found: pure functions from answers to lines.

Nothing personal is in them: no name, no text, no Id, no value of a record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from math import isinf
from typing import Any

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.nexudus.auth import Login
from tap_nexudus_usage.nexudus.client import GetManyForm
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.pages import Page, Record, key
from tap_nexudus_usage.nexudus.transport import Tally
from tap_nexudus_usage.reading.get_many_probe import GetMany
from tap_nexudus_usage.reading.minutes import minute_of_record

EDITIONS = {"0": "the newest edition", "1": "an older edition", "ascending": "the oldest edition"}

CALLS_A_SECOND, CALLS_AN_HOUR = 10, 5_000
"""Published limits, besides that of `requests_per_minute`."""

OTHER_LOCATIONS = "records of those that the user doesn't see don't come, and no error says so"

MINUTE, HOUR, DAY = 60, 3_600, 86_400
"""Seconds."""


def of_login(login: Login) -> str:
    """How the token was come by, and how long it lives."""
    if login.kind == "access_token":
        return "Login: access_token is used as it is; when it ends, so does the run"
    lives = "how long the token lives isn't told, so it is used until it is refused"
    if not isinf(login.lifetime):
        lives = f"the token lives {_span(login.lifetime)}, and is renewed in time"
    return f"Login: allowed by {login.kind}; {lives}"


def of_locations(me: Mapping[str, Any] | None) -> str:
    """How many locations the user sees."""
    locations = (me or {}).get("Businesses")
    if not isinstance(locations, list):
        return f"Locations: not told; {OTHER_LOCATIONS}"
    return f"Locations: the user sees {len(locations)}; {OTHER_LOCATIONS}"


def of_records(page: Page, page_size: int, start_date: str | None) -> str:
    """How many there are, and how many come at once."""
    what = "record" if page.total_items == 1 else "records"
    what += "" if start_date is None else " since start_date, or shortly before it"
    if not page.total_items:
        return f"Search: allowed; there are no {what}"
    line = f"Search: allowed; {page.total_items} {what}"
    if is_capped(page, page_size):
        return f"{line}, at most {len(page.records)} a page, where {page_size} were asked for"
    return f"{line}, {page_size} a page"


def of_order(page: Page, direction: str, *, is_proven: bool) -> str:
    """Which `dir` ascends, and how far the order goes."""
    if not is_proven:
        return "Order: too few records, or all in one minute, to tell whether they are sorted"
    line = f"Order: sorted by UpdatedOn; dir {direction} ascends, as in {EDITIONS[direction]}"
    stamped = [record["UpdatedOn"] for record in page.records if minute_of_record(record)]
    stamps = [*map(timestamps.canonical, stamped)]
    if stamps != sorted(stamps):
        line += ". Within a minute it isn't sorted, and needn't be"
    return line


def of_clock(offset: timedelta | None, name: str) -> str:
    """In which clock the bounds are read."""
    if offset is None:
        return "Bounds: in which clock they are read doesn't show; a run finds out where it matters"
    line = "Bounds: a search keeps to the times asked for, and reads them in"
    if not offset:
        return f"{line} UTC, as the stamps are"
    return f"{line} the clock UTC{name}; a run finds that out in about ten calls"


def of_season(change: timedelta | None) -> str:
    """How the clock is changed in another season."""
    if change is None:
        return "Daylight saving: whether the clock changes with it doesn't show"
    if not change:
        return "Daylight saving: none; half a year away the bounds are read in the same clock"
    how = "an hour ahead of" if change > timedelta(0) else "an hour behind"
    return (
        f"Daylight saving: half a year away the bounds are read in a clock {how} this one; a run "
        "finds that out, too"
    )


def of_pages(first: Page, second: Page, size: int, *, counts_by_size: bool) -> str:
    """Whether pages are as asked for; `second` is the second of `size` records."""
    expected = first.records[size : 2 * size]
    odd = []
    if len(second.records) > size:
        odd.append("size is ignored")
    if counts_by_size:
        odd.append("the numbers of pages go by the size asked for, though fewer are shown")
    if _ids(second.records) != _ids(expected) and _stamps(second.records) == _stamps(expected):
        odd.append("equal stamps come in another order on another page")
    follows = (len(first.records) < first.total_items, 2 * size < second.total_items)
    if (first.has_next_page, second.has_next_page) != follows:
        odd.append("HasNextPage is wrong")
    if first.total_items != second.total_items:
        odd.append("TotalItems is another one each time")
    if not odd:
        return "Pages: the page asked for comes, and as many records as asked for"
    return f"Pages: the page asked for comes, but {', '.join(odd)}; a run doesn't rely on it"


def is_first_again(first: Page, second: Page, size: int) -> bool:
    """Whether the second page of `size` records is the first once more."""
    again, expected = _stamps(second.records), _stamps(first.records[size : 2 * size])
    return again != expected and again == _stamps(first.records[:size])


def of_throttle(tally: Tally, waited: float) -> str:
    """How many calls were throttled."""
    if not tally.throttled:
        return f"Throttle: none of {tally.calls} calls was throttled"
    return (
        f"Throttle: {tally.throttled} of {tally.calls} calls were throttled, {waited:.0f} s of "
        "waiting; perhaps other integrations of the same user take from its allowance"
    )


def of_first_run(calls: int, seconds_a_call: float, requests_per_minute: int) -> str:
    """What a first run will cost."""
    seconds = calls * seconds_a_call
    if requests_per_minute:
        full_minutes = (calls - 1) // requests_per_minute
        full_hours = (calls - 1) // CALLS_AN_HOUR
        seconds = max(seconds, calls / CALLS_A_SECOND, full_minutes * MINUTE, full_hours * HOUR)
    return f"First run: about {calls} calls, {_at_most(seconds)}"


def is_capped(page: Page, page_size: int) -> bool:
    """Whether fewer came than were asked for and are there."""
    return len(page.records) < min(page_size, page.total_items)


def of_get_many(many: GetMany, entity: Entity) -> str:
    """Which form is understood, and for how many Ids at once."""
    if many.form is not None:
        line = f"Get many: {many.form.value} is understood; {len(many.found)} of "
        line += f"{many.asked_for} Ids came"
        return f"{line}, more at once are refused" if many.is_largest else line
    forms = " nor ".join(form.value for form in GetManyForm)
    if many.is_refused:
        role = f"{entity.read_role} or, in some editions, {entity.list_role}"
        why = f"refused; it needs the role {role}"
    elif many.fails:
        why = f"neither {forms} works, unless none of these Ids exists"
    else:
        why = f"neither {forms} is understood"
    return f"Get many: {why}. Ids are then read one by one, a call each"


def of_unfindable(number: int) -> str:
    """How many records have no stamp."""
    if number > 0:
        return f"Without UpdatedOn: {number} records, which a search doesn't find, and by Id come"
    return "Without UpdatedOn: no record"


def _ids(records: Iterable[Record]) -> list[int]:
    return [key(record) for record in records]


def _stamps(records: Iterable[Record]) -> list[str]:
    return [repr(record.get("UpdatedOn")) for record in records]


def _span(seconds: float) -> str:
    for unit, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} seconds"


def _at_most(seconds: float) -> str:
    if seconds < MINUTE:
        return "less than a minute"
    return f"about {_span(max(seconds, 2 * MINUTE))}"
