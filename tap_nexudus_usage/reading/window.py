"""Reading a stretch of time that no bounds can part further, and that holds more than a page."""

from __future__ import annotations

from collections.abc import Callable, Generator

from tap_nexudus_usage.errors import ApiError
from tap_nexudus_usage.id_set import IdSet
from tap_nexudus_usage.nexudus.pages import Page, Record, key

MOST_PASSES = 10
"""After which a window that keeps changing is given up for this run."""

MOST_GROWING_PASSES = 2
"""Passes that nothing is missing after, but in which something came."""

MOST_FRUITLESS_PASSES = 2
"""Passes without anything new, after which what is missing isn't going to be shown."""


def read_window(
    ask: Callable[[int, int], Page], size: int
) -> Generator[list[Record], None, tuple[int, bool]]:
    """Yield the records of a window; return how many it is said to hold, and whether on one page.

    `ask` gives a page by its number and size, in the order of Ids: unlike that of stamps it is
    unique, so that a record has one place. The pages are read from the last to the first. What
    leaves the window meanwhile then moves others to pages still to be read; only what enters it can
    move one to where it has been read already, which shows in a greater number. So the reading is
    complete when the distinct Ids seen reach the number said, and that number hasn't grown during
    the last pass. Raises ApiError where that doesn't come about.
    """
    seen = IdSet()
    page = ask(1, size)
    yield _note(page, seen)
    if len(seen) >= page.total_items and not (page.has_next_page and ask(2, size).records):
        return page.total_items, True
    # A server that shows fewer than asked for may still count its pages by the size asked for.
    size = min(size, len(page.records))
    fruitless = 0
    for attempt in range(MOST_PASSES):
        seen_before, first_total, has_grown = len(seen), page.total_items, False
        total = first_total
        number = _pages(total, size)
        # In the first pass the first page has been read already.
        while number > 1 or (
            number == 1 and (attempt > 0 or not total == first_total == len(seen))
        ):
            page = ask(number, size)
            yield _note(page, seen)
            has_grown = has_grown or page.total_items > total
            total = page.total_items
            number = min(number - 1, _pages(total, size))
        # One that grows all the time is left to the count at the end.
        if len(seen) >= total and (not has_grown or attempt >= MOST_GROWING_PASSES):
            return total, False
        fruitless = 0 if len(seen) > seen_before else fruitless + 1
        if fruitless == MOST_FRUITLESS_PASSES:
            break
    message = (
        f"The API's search doesn't come to the end of a minute: it says that there are {total} "
        f"records, and has shown {len(seen)}. Try again later; the next run reads them again"
    )
    raise ApiError(message)


def _note(page: Page, seen: IdSet) -> list[Record]:
    seen.add(map(key, page.records))
    return page.records


def _pages(total: int, size: int) -> int:
    return -(-total // size)
