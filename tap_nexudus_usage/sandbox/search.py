"""The sandbox's search: filters, order, pages, as a tenant reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from tap_nexudus_usage.nexudus.entities import LEDGER, Entity
from tap_nexudus_usage.sandbox.records import Record, Table, dotnet, stamp_key
from tap_nexudus_usage.sandbox.tenant import Tenant

EQUALITY_FILTERS = {
    # Behind the entity's name.
    LEDGER: {
        "CoworkerExtraService": "CoworkerExtraServiceId",
        "Booking": "BookingId",
        "Booking_FromTime": "BookingFromTime",
        "Booking_ToTime": "BookingToTime",
        "Booking_Resource_Name": "BookingResourceName",
        "CreditUsed": "CreditUsed",
    }
}

NUMBER_RANGES = {LEDGER: ("CreditUsed",)}
"""Beside the ranges of stamps, which each entity has."""

MINUTE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d", re.ASCII)


def search(
    table: Table, query: Mapping[str, str], tenant: Tenant, entity: Entity
) -> dict[str, Any] | None:
    """The answer to a search, None where none of the Ids asked for exists.

    Raises ValueError for a query that the API would refuse.
    """
    query = {
        name.replace(entity.filter(""), ""): value
        for name, value in query.items()
        if name not in tenant.ignored
    }
    if "filter" not in tenant.get_many_forms:
        query.pop("Id", None)
    page, asked = int(query.get("page", 1)), int(query.get("size", 25))
    size = min(asked, tenant.page_cap)
    if page < 1 or size < 1:
        message = "page and size count from 1"
        raise ValueError(message)
    step = asked if tenant.cap_is_silent else size
    records = _sorted(table, query, tenant, entity, page)
    if "Id" in query and not records:
        return None
    first = (page - 1) * step
    shown = records[first : first + size]
    total = tenant.says_total(len(records), len(shown))
    return {
        "Records": [_listed(table, record_id, tenant) for record_id in shown],
        "CurrentPage": page,
        "CurrentPageSize": step,
        "CurrentOrderField": query.get("orderBy", "Id"),
        "CurrentSortDirection": int(tenant.is_descending(query.get("dir"))),
        "FirstItem": first + 1 if shown else 0,
        "LastItem": first + len(shown),
        "TotalItems": total,
        "TotalPages": -(-total // step),
        "HasNextPage": tenant.says_next_page(follows=page * step < len(records)),
        "HasPreviousPage": page > 1,
    }


def _listed(table: Table, record_id: int, tenant: Tenant) -> msgspec.Raw:
    """A record as a page shows it."""
    return msgspec.Raw(tenant.shows(table.json(record_id) or b"null", in_page=True))


def _sorted(
    table: Table, query: Mapping[str, str], tenant: Tenant, entity: Entity, page: int
) -> Sequence[int]:
    """The Ids of all records that the query asks for, in its order."""
    bounds = [_minute(query, f"{end}_UpdatedOn", tenant) for end in ("from", "to")]
    order_by = query.get("orderBy", "Id")
    descending = tenant.is_descending(query.get("dir"))
    ids = table.updated_between(bounds[0] or "", bounds[1] or "~") if any(bounds) else list(table)
    is_plain = tenant.ties == "by_id" and tenant.sorts_by == "ticks"
    if not (order_by == "UpdatedOn" and any(bounds) and is_plain):
        ids = sorted(ids, key=lambda record_id: _order(table, record_id, order_by, tenant, page))
    if filters := _filters(query, tenant, entity):
        ids = [i for i in ids if all(fits(table.get(i) or {}) for fits in filters)]
    return ids[::-1] if descending else ids


def _order(
    table: Table, record_id: int, name: str, tenant: Tenant, page: int
) -> tuple[bool, Any, float]:
    value = (table.get(record_id) or {}).get(name)
    if isinstance(value, str) and name.endswith("On"):
        value = stamp_key(value)
        if tenant.sorts_by == "milliseconds":
            value = value[: len("2025-01-15T10:30:00.123")]
    tie: float = record_id
    if tenant.ties == "turning" and page % 2 == 0:
        tie = -record_id
    elif tenant.ties == "random":
        tie = tenant.chance.random()
    return (value is not None, value, tie)


def _filters(
    query: Mapping[str, str], tenant: Tenant, entity: Entity
) -> list[Callable[[Record], bool]]:
    """The filters in the query, those by `UpdatedOn` aside."""
    filters: list[Callable[[Record], bool]] = [
        partial(_equals, field, query[name])
        for name, field in EQUALITY_FILTERS.get(entity, {}).items()
        if name in query
    ]
    if "Id" in query:
        ids = parse_ids(query["Id"])
        filters.append(lambda record: record["Id"] in ids)
    if bound := _minute(query, "from_CreatedOn", tenant):
        filters.append(lambda record: stamp_key(record["CreatedOn"]) >= bound)
    if end := _minute(query, "to_CreatedOn", tenant):
        filters.append(lambda record: stamp_key(record["CreatedOn"]) <= end)
    for field in NUMBER_RANGES.get(entity, ()):
        least, most = query.get(f"from_{field}"), query.get(f"to_{field}")
        if least or most:
            filters.append(partial(_lies_between, field, least, most))
    return filters


def parse_ids(value: str) -> tuple[int, ...]:
    """The Ids in a value like `[7,8]`; raises ValueError."""
    items = value.removeprefix("[").removesuffix("]").split(",")
    if not all(item.isdecimal() for item in items):
        message = "Ids are asked for like [7,8]"
        raise ValueError(message)
    return tuple(map(int, items))


def _equals(field: str, value: str, record: Record) -> bool:
    return str(record[field]) == value


def _lies_between(field: str, least: str | None, most: str | None, record: Record) -> bool:
    number = record[field] or 0
    return (not least or number >= int(least)) and (not most or number <= int(most))


def _minute(query: Mapping[str, str], name: str, tenant: Tenant) -> str | None:
    """The bound named, at minute resolution as the API has it, in the clock of the stamps."""
    value = query.get(name)
    if value is None:
        return None
    if not MINUTE.fullmatch(value):
        message = f"{name} must look like 2025-01-15T10:30"
        raise ValueError(message)
    return stamp_key(dotnet(tenant.to_utc(datetime.fromisoformat(value))))
