"""The sandbox's search: filters, order, pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from tap_nexudus_usage.sandbox.records import Ledger, Record, stamp_key

ENTITY = "CoworkerExtraServiceUseHistory"

EQUALITY_FILTERS = {
    f"{ENTITY}_CoworkerExtraService": "CoworkerExtraServiceId",
    f"{ENTITY}_Booking": "BookingId",
    f"{ENTITY}_Booking_FromTime": "BookingFromTime",
    f"{ENTITY}_Booking_ToTime": "BookingToTime",
    f"{ENTITY}_Booking_Resource_Name": "BookingResourceName",
    f"{ENTITY}_CreditUsed": "CreditUsed",
}

MINUTE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d", re.ASCII)

DirReading = Literal["new", "old"]
"""What `dir` means. New: 0 is ascending, 1 descending. Old: 1 is ascending, others descending."""


def search(
    ledger: Ledger, query: Mapping[str, str], *, dir_reading: DirReading, page_cap: int
) -> dict[str, Any]:
    """The answer to a search; raises ValueError for a query that the API would refuse."""
    page, size = int(query.get("page", 1)), min(int(query.get("size", 25)), page_cap)
    if page < 1 or size < 1:
        message = "page and size count from 1"
        raise ValueError(message)
    direction = int(query.get("dir", 0 if dir_reading == "new" else 1))
    records = _sorted(ledger, query, descending=direction != (0 if dir_reading == "new" else 1))
    first, pages = (page - 1) * size, -(-len(records) // size)
    shown = records[first : first + size]
    return {
        "Records": [msgspec.Raw(ledger.json(record_id) or b"null") for record_id in shown],
        "CurrentPage": page,
        "CurrentPageSize": size,
        "CurrentOrderField": query.get("orderBy", "Id"),
        "CurrentSortDirection": direction,
        "FirstItem": first + 1 if shown else 0,
        "LastItem": first + len(shown),
        "TotalItems": len(records),
        "TotalPages": pages,
        "HasNextPage": page < pages,
        "HasPreviousPage": page > 1,
    }


def _sorted(ledger: Ledger, query: Mapping[str, str], *, descending: bool) -> Sequence[int]:
    """The Ids of all records that the query asks for, in its order."""
    bounds = [_minute(query, f"{end}_{ENTITY}_UpdatedOn") for end in ("from", "to")]
    order_by = query.get("orderBy", "Id")
    ids = ledger.updated_between(bounds[0] or "", bounds[1] or "~") if any(bounds) else list(ledger)
    if order_by != "UpdatedOn" or not any(bounds):
        ids = sorted(ids, key=lambda record_id: _order(ledger.get(record_id) or {}, order_by))
    if filters := _filters(query):
        ids = [i for i in ids if all(fits(ledger.get(i) or {}) for fits in filters)]
    return ids[::-1] if descending else ids


def _order(record: Record, name: str) -> tuple[bool, Any]:
    value = record.get(name)
    if isinstance(value, str) and name.endswith("On"):
        value = stamp_key(value)
    return (value is not None, value)


def _filters(query: Mapping[str, str]) -> list[Callable[[Record], bool]]:
    """The filters in the query, those by `UpdatedOn` aside."""
    filters: list[Callable[[Record], bool]] = [
        partial(_equals, field, query[name])
        for name, field in EQUALITY_FILTERS.items()
        if name in query
    ]
    if bound := _minute(query, f"from_{ENTITY}_CreatedOn"):
        filters.append(lambda record: stamp_key(record["CreatedOn"]) >= bound)
    if end := _minute(query, f"to_{ENTITY}_CreatedOn"):
        filters.append(lambda record: stamp_key(record["CreatedOn"]) <= end)
    if least := query.get(f"from_{ENTITY}_CreditUsed"):
        filters.append(lambda record: (record["CreditUsed"] or 0) >= int(least))
    if most := query.get(f"to_{ENTITY}_CreditUsed"):
        filters.append(lambda record: (record["CreditUsed"] or 0) <= int(most))
    return filters


def _equals(field: str, value: str, record: Record) -> bool:
    return str(record[field]) == value


def _minute(query: Mapping[str, str], name: str) -> str | None:
    """The bound named, at minute resolution as the API has it."""
    value = query.get(name)
    if value is None:
        return None
    if not MINUTE.fullmatch(value):
        message = f"{name} must look like 2025-01-15T10:30"
        raise ValueError(message)
    return stamp_key(f"{value}:00Z")
