"""The last page of a search, asked for from the other end: it counts the whole at no further call.

Its total is that of all from the first bound on, which a page that goes on in ascending order
doesn't tell. Nothing is taken for granted of it either: where it doesn't fit to what came before,
the search goes on as if it had not been asked.
"""

from __future__ import annotations

from tap_nexudus_usage.reading.asking import Answer, Asking


def ask_for_end(asking: Asking, first_bound: str, answer: Answer, seen: int) -> Answer | None:
    """What is left after an answer, if that fits on a page, in ascending order.

    It has to reach back beyond where the answer ended, and to count all that was `seen` and was
    left. Raises what `NexudusClient.search` raises.
    """
    left = answer.page.total_items - len(answer.page.records)
    size = left + answer.minutes.count(answer.latest) + 1
    if not (asking.is_direction_proven and left > 0 and size <= len(answer.page.records)):
        return None
    end = asking.last_page(first_bound, size)
    if end is None or not end.minutes or end.minutes != sorted(end.minutes):
        return None
    reaches_back = end.minutes[0] < answer.latest
    return end if reaches_back and end.page.total_items >= seen + left else None
