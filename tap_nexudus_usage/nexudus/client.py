"""The API's calls, one method each, and what a refusal of each means."""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from tap_nexudus_usage.errors import AccessError, ApiError, RefusalError, UnansweredError
from tap_nexudus_usage.nexudus.decoding import decode
from tap_nexudus_usage.nexudus.transport import Authenticator, Call, Transport, UnusableAnswerError

T = TypeVar("T")

Record = dict[str, Any]
"""A CoworkerExtraServiceUseHistory as the API sends it, parsed JSON."""

PATH = "/api/billing/coworkerextraserviceusehistories"

URL_LIMIT = 2_000
"""Characters; IIS cuts queries at about 2,048 ("Get many")."""

GET_MANY_TRIES = 3
"""Tries of a get many on transient faults: a smaller batch may then do better."""

ENTITY = "CoworkerExtraServiceUseHistory"

TRY_AGAIN = "Try again later; what was emitted so far won't be emitted again"
CHECK_URL = "Check api_url and any proxy on the way"

READ_ROLE = f"{ENTITY}-Read (get one; some editions want {ENTITY}-List for get many)"
SEARCH_ROLE = f"{ENTITY}-List (search); with {ENTITY}-Read alone, set record_ids"


class Page(msgspec.Struct, rename="pascal"):
    """One page of a search's answer, as far as it is used."""

    records: list[Record]
    total_items: int
    has_next_page: bool


class NexudusClient:
    """Reads usage records. Methods may be called from several threads."""

    def __init__(self, api_url: str, transport: Transport, auth: Authenticator) -> None:
        """`api_url` without a slash at its end."""
        self._url = f"{api_url}{PATH}"
        self._transport = transport
        self._auth = auth

    @property
    def room_for_ids(self) -> int:
        """Characters that the Ids of one get many may take, a comma counted with each."""
        return URL_LIMIT - len(self._get_many_url([])) + 1

    def get_one(self, record_id: int) -> Record | None:
        """The record with this Id, or None where Nexudus has none that the user may see.

        Raises AccessError where the user may not read at all, UnansweredError where no usable
        answer comes, ApiError where it is another record, ThrottledError, StoppedError.
        """

        def parse(body: bytes) -> Record:
            record = decode(body, dict[str, Any])
            if "Id" not in record:
                message = "something else than a record"
                raise UnusableAnswerError(message)
            return record

        what = f"get one of Id {record_id}"
        try:
            record = self._call(what, f"{PATH}/{{id}}", f"{self._url}/{record_id}", parse)
        except RefusalError as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return None
            raise _error(refusal, READ_ROLE) from refusal
        if _record_id(record) != record_id:
            message = (
                f"{what} was answered with another record, Id {record['Id']!r:.50}. {CHECK_URL}"
            )
            raise ApiError(message)
        return record

    def get_many(self, record_ids: Collection[int]) -> dict[int, Record]:
        """The records that exist of `record_ids`, by Id, in whatever order they came.

        Raises RefusalError where the same call would be refused again; the caller may ask
        otherwise. Raises ApiError where a record comes that was not asked for, ThrottledError,
        StoppedError.
        """
        asked = frozenset(record_ids)
        what = f"get many of {len(asked)} Ids"
        records = self._call(
            what,
            f"{PATH}/?id=[]",
            self._get_many_url(record_ids),
            lambda body: decode(body, list[dict[str, Any]]),
            tries=GET_MANY_TRIES,
        )
        found = {}
        for record in records:
            record_id = _record_id(record)
            if record_id not in asked:
                message = (
                    f"{what} was answered with a record not asked for, "
                    f"Id {record.get('Id')!r:.50}. {CHECK_URL}"
                )
                raise ApiError(message)
            found[record_id] = record
        return found

    def search(
        self,
        *,
        since: str | None,
        until: str | None = None,
        page: int = 1,
        size: int,
        direction: int,
    ) -> Page:
        """A page, counted from 1, of the records updated from `since` to `until`, both included.

        The bounds are minutes (`2025-01-15T10:30`), and so exact to the beginning of a minute; None
        leaves an end open. Without bounds, records without `UpdatedOn` are among the others.
        `direction` is meant to be ascending by `UpdatedOn`: 0 or 1, the API's editions differ.
        Raises AccessError where the user may not search, ApiError, ThrottledError, StoppedError.
        """
        bounds = {f"from_{ENTITY}_UpdatedOn": since, f"to_{ENTITY}_UpdatedOn": until}
        query = {
            "page": page,
            "size": size,
            "orderBy": "UpdatedOn",
            "dir": direction,
            **{name: bound for name, bound in bounds.items() if bound is not None},
        }
        what = f"page {page} of the search from {since or 'the beginning'}"
        try:
            return self._call(
                what,
                f"{PATH}?page=",
                f"{self._url}?{urlencode(query, safe=':')}",
                lambda body: decode(body, Page),
            )
        except RefusalError as refusal:
            raise _error(refusal, SEARCH_ROLE) from refusal

    def _get_many_url(self, record_ids: Collection[int]) -> str:
        return f"{self._url}/?id=[{','.join(map(str, record_ids))}]"

    def _call(
        self,
        what: str,
        endpoint: str,
        url: str,
        parse: Callable[[bytes], T],
        tries: int | None = None,
    ) -> T:
        call = Call(what=what, endpoint=endpoint, url=url, auth=self._auth)
        return self._transport.call(call, parse, tries=tries)


def _error(refusal: RefusalError, role: str) -> AccessError | ApiError:
    """The words for a refusal that there is no way around; `role` is what the call needs."""
    if refusal.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AccessError(
            f"Nexudus refuses access: {refusal}. Either the token isn't valid, so check the login "
            f"settings, or the user lacks the role {role}"
        )
    if refusal.transient:
        return UnansweredError(f"The API fails: {refusal}. {TRY_AGAIN}")
    return ApiError(f"The API fails: {refusal}. {CHECK_URL}")


def _record_id(record: Record) -> int | None:
    record_id = record.get("Id")
    return record_id if type(record_id) is int else None
