"""The records in an answer: what it shows and what it claims, checked against each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tap_nexudus_usage.errors import ApiError, UnknownFormError
from tap_nexudus_usage.nexudus.decoding import decode, look, whole
from tap_nexudus_usage.nexudus.transport import UnusableAnswerError

_DIGITS = re.compile(r"\d{1,18}", re.ASCII)

Record = dict[str, Any]
"""An entity's record as the API sends it, parsed JSON."""


@dataclass(frozen=True)
class Page:
    """A page, as far as it is used.

    Attributes:
        total_items: how many records the search is said to find in all.
        has_next_page: whether more are said to follow; some servers say so for ever.
    """

    records: list[Record]
    total_items: int
    has_next_page: bool


def parse(body: bytes, number: int, size: int) -> Page:
    """The page `number`, counted from 1, of `size` records at the most, from an answer's body.

    Raises UnusableAnswerError where it isn't one, or contradicts itself; ApiError where it is
    another page: a parameter that the API doesn't know is ignored without a word.
    """
    answer = decode(body, dict[str, Any])
    current = _whole(answer, "CurrentPage") if answer.get("CurrentPage") is not None else number
    if current != number:
        message = (
            f"The API's search answers page {current} where page {number} was asked for: it seems "
            "to ignore the parameter. Please report it; reading by Id works without"
        )
        raise ApiError(message)
    page = Page(_records(answer), _whole(answer, "TotalItems"), _flag(answer, "HasNextPage"))
    told_size = whole(answer.get("CurrentPageSize"))
    if type(told_size) is int and 0 < told_size < size:
        # "The server may answer with a smaller CurrentPageSize than was asked for."
        size = told_size
    before = (number - 1) * size
    shown = len(page.records)
    if before + shown > page.total_items:
        # Twice the same may come, after a retry on the way.
        shown = len({repr(whole(record.get("Id"))) for record in page.records})
    shows_too_many = shown and before + shown > page.total_items
    if shows_too_many or (not shown and before < page.total_items):
        message = f"{shown} records on page {number}, of {page.total_items} that it says there are"
        raise UnusableAnswerError(message)
    return page


def parse_array(body: bytes) -> Page:
    """The records of a get many that answers with an array; null is none."""
    try:
        # Some write null for an Id that doesn't exist.
        records = [record for record in decode(body, list[dict[str, Any] | None]) if record]
    except UnusableAnswerError:
        if body.strip() == b"null":
            records = []
        elif "Records" in decode(body, dict[str, Any]):
            message = "get many was answered with a page of the search"
            raise UnknownFormError(message) from None
        else:
            raise
    return Page(records, 0, has_next_page=False)


def _records(answer: dict[str, Any]) -> list[Record]:
    name = "Records"
    records = answer.get(name)
    if records is None and answer.get("TotalItems") in (0, "0"):
        return []
    if isinstance(records, list) and all(isinstance(record, dict) for record in records):
        return records
    raise _refusal(name, "an array of objects", records)


def _whole(answer: dict[str, Any], name: str) -> int:
    """A number of records or of a page, which some writers of JSON make a text or 10.0 of."""
    value = answer.get(name)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    value = whole(value)
    if type(value) is int and value >= 0:
        return value
    raise _refusal(name, "a whole number", value)


def _flag(answer: dict[str, Any], name: str) -> bool:
    value = answer.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _refusal(name, "true or false", value)


def _refusal(name: str, wanted: str, value: Any) -> UnusableAnswerError:
    return UnusableAnswerError(f"a {name} that should be {wanted}, but is {look(value):.40}")


def key(record: Record) -> int:
    """What to tell a record from others by: its Id, or a number for one that is no Id."""
    record_id = whole(record.get("Id"))
    return record_id if type(record_id) is int else hash(repr(record_id))
