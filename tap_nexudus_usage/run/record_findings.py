"""What `--test` says of the records that came: their fields, their stamps, what lists leave out.

Pure functions from records to lines, in which nothing of a record's content is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tap_nexudus_usage.emission.records import DELETED_AT, RecordShape
from tap_nexudus_usage.errors import InvalidRecordError
from tap_nexudus_usage.nexudus.pages import Record

LONGEST_NAME = 50

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?", re.ASCII)


def of_stamps(records: Iterable[Record]) -> str:
    """How date-times are written."""
    values = [record.get(name) for record in records for name in ("UpdatedOn", "CreatedOn")]
    found = [_STAMP.fullmatch(value) for value in values if isinstance(value, str)]
    stamps = [match for match in found if match is not None]
    if not stamps:
        return "Stamps: none is a date-time as documented"
    digits = sorted({len(match[1] or "") for match in stamps})
    zones = {match[2] or "" for match in stamps}
    end = {frozenset("Z"): "with Z", frozenset({""}): "without Z"}.get(frozenset(zones))
    span = f"{digits[0]}" if digits[0] == digits[-1] else f"{digits[0]} to {digits[-1]}"
    return (
        f"Stamps: {end or 'some with Z, others not'}, {span} fractional digits; read as UTC, the "
        "seventh digit is cut off"
    )


def of_schema(records: Collection[Record], shape: RecordShape, known: Collection[str]) -> str:
    """Which fields are missing from the schema, unknown to it, or break it."""
    fields = set(known) - {DELETED_AT}
    odd = []
    if missing := sorted({name for record in records for name in fields - record.keys()}):
        odd.append(f"{', '.join(missing)} missing, which is null or left out then")
    if unknown := sorted({name for record in records for name in record.keys() - fields}):
        odd.append(f"{', '.join(map(_name, unknown))} unknown, which is dropped")
    if broken := sorted(_broken(records, shape, fields)):
        odd.append(f"{', '.join(broken)}, for which see on_invalid_record")
    seen = f"{len(records)} record{'s' * (len(records) != 1)} looked at"
    return f"Schema: {seen}; {'; '.join(odd) or 'all have its fields and no others'}"


def of_lists(
    found: Mapping[int, Record], many: Mapping[int, Record], one: Mapping[int, Record]
) -> Iterator[str]:
    """Whether a record is the same by search, by get many and by get one."""
    whole = {**many, **one}
    in_search, in_many = left_empty(found, whole), left_empty(many, one)
    if in_search:
        remedy = "with batch_size 1, " if in_many else ""
        yield (
            f"Lists: a search leaves empty {', '.join(map(_name, in_search))}, which then arrive "
            f"as null; by Id, {remedy}they come"
        )
    elif found.keys() & whole.keys():
        yield "Lists: a record comes as whole by search as by Id"
    if in_many:
        yield (
            f"Lists: get many leaves empty {', '.join(map(_name, in_many))}, which then arrive as "
            "null; with batch_size 1 they come"
        )


def left_empty(short: Mapping[int, Record], whole: Mapping[int, Record]) -> list[str]:
    """The fields that one way of reading leaves empty and another doesn't, of the same records."""
    return sorted(
        {
            name
            for record_id in short.keys() & whole.keys()
            if short[record_id].get("UpdatedOn") == whole[record_id].get("UpdatedOn")
            for name, value in whole[record_id].items()
            if not _is_empty(value) and _is_empty(short[record_id].get(name))
        }
    )


def emptiness(record: Record) -> int:
    """How many fields hold nothing."""
    return sum(map(_is_empty, record.values()))


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


def _broken(
    records: Iterable[Record], shape: RecordShape, fields: Collection[str]
) -> Iterable[str]:
    found: set[str] = set()
    for record in records:
        try:
            shape.conform({name: value for name, value in record.items() if name in fields})
        except InvalidRecordError as error:  # noqa: PERF203 - few are invalid
            found.add(f"{error.field} should be {error.expected} but is {error.got}")
    return found


def _name(name: str) -> str:
    """A field's name that the API made up, fit for a line."""
    is_plain = name.isascii() and name.isidentifier() and len(name) <= LONGEST_NAME
    return name if is_plain else f"{name!r:.{LONGEST_NAME}}"
