"""What `--test` finds out: the login, then the role for each way of reading in use."""

from __future__ import annotations

from collections.abc import Iterator

from tap_nexudus_usage.errors import RefusalError
from tap_nexudus_usage.nexudus.client import GetManyForm, NexudusClient
from tap_nexudus_usage.nexudus.connection import Connection
from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.reading.asking import count
from tap_nexudus_usage.settings.checked import Settings


def check(connection: Connection, settings: Settings) -> Iterator[str]:
    """Yield in words what works, one thing after the other.

    Raises LoginError, AccessError and whatever else `NexudusClient` raises, at what doesn't.
    """
    if connection.auth.log_in():
        yield "Login: Nexudus has issued a token"
    else:
        yield "Login: the access token is used as it is"
    if settings.record_ids:
        yield from _check_reading_by_id(connection.client(LEDGER), settings)
    else:
        yield _check_search(connection.client(LEDGER))


def _check_reading_by_id(client: NexudusClient, settings: Settings) -> Iterator[str]:
    first, *others = settings.record_ids
    if client.get_one(first) is None:
        yield f"Get one: allowed, but there is no record with Id {first}, or none this user may see"
    else:
        yield f"Get one: the record with Id {first} was read"
    if not others or settings.batch_size == 1:
        return
    try:
        found = client.get_many([first, others[0]], GetManyForm.ARRAY, is_proven=False)
    except RefusalError as refusal:
        yield f"Get many: refused, so Ids are read one by one, a call each: {refusal}"
    else:
        yield f"Get many: allowed; {len(found)} of 2 Ids tried were read"


def _check_search(client: NexudusClient) -> str:
    total = count(client, None)
    if not total:
        return "Search: allowed; the ledger is empty"
    return f"Search: allowed; the ledger holds {total} records"
