"""The API's calls, one method each, and what a refusal of each means."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

from tap_nexudus_usage.errors import (
    AccessError,
    ApiError,
    RefusalError,
    UnansweredError,
    UnknownFormError,
)
from tap_nexudus_usage.nexudus import pages
from tap_nexudus_usage.nexudus.call import Authenticator, Call
from tap_nexudus_usage.nexudus.decoding import decode, look, whole
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.pages import Page, Record
from tap_nexudus_usage.nexudus.transport import Transport, UnusableAnswerError

T = TypeVar("T")

URL_LIMIT = 2_000
"""Characters; IIS cuts queries at about 2,048 ("Get many")."""

GET_MANY_TRIES = 3
"""Tries of a get many on transient faults: a smaller batch may then do better."""

ME = "/api/auth/me"

GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
"""By which get one says that there is no such record, unless in HTML: that is no answer of the
API's."""

TRY_AGAIN = "Try again later; what was emitted so far won't be emitted again"
CHECK_URL = "Check api_url and any proxy on the way"


class GetManyForm(Enum):
    """How Ids are asked for, many at once: editions differ, and so may entities ("Get many")."""

    ARRAY = "/?id=[]"
    FILTER = "?…_Id=[]"

    @property
    def other(self) -> GetManyForm | None:
        """The form to try after this one."""
        return GetManyForm.FILTER if self is GetManyForm.ARRAY else None


class NexudusClient:
    """Reads records of an entity. Methods may be called from several threads."""

    def __init__(
        self, api_url: str, transport: Transport, auth: Authenticator, entity: Entity
    ) -> None:
        """`api_url` without a slash at its end."""
        self._api_url = api_url
        self._entity = entity
        self._url = f"{api_url}{entity.path}"
        self._transport = transport
        self._auth = auth

    def room_for_ids(self, form: GetManyForm) -> int:
        """Characters that the Ids of one get many may take, a comma counted with each."""
        return URL_LIMIT - len(self._get_many_url([], form)) + 1

    def get_one(self, record_id: int, *, tries: int | None = None) -> Record | None:
        """The record with this Id, or None where Nexudus has none that the user may see.

        Raises AccessError where that is refused, UnansweredError where no usable answer comes,
        ThrottledError, StoppedError.
        """

        def parse(body: bytes) -> Record:
            record = decode(body, dict[str, Any])
            if "Id" not in record:
                message = "something else than a record"
                raise UnusableAnswerError(message)
            return record

        what = f"get one of Id {record_id}"
        url = f"{self._url}/{record_id}"
        try:
            record = self._call(what, f"{self._entity.path}/{{id}}", url, parse, tries)
        except RefusalError as refusal:
            if refusal.status in GONE and not refusal.is_html:
                return None
            raise _error(refusal, self._role_to_read, UnansweredError) from refusal
        if _record_id(record) != record_id:
            message = (
                f"{what} was answered with another record, Id {look(record['Id']):.50}. {CHECK_URL}"
            )
            raise UnansweredError(message)
        return record

    def get_many(self, record_ids: Collection[int], form: GetManyForm) -> dict[int, Record]:
        """The records that exist of `record_ids`, by Id, in whatever order they came.

        Raises UnknownFormError where the tenant ignores the parameter, which shows in an envelope
        where an array was due or in other records; RefusalError where the same call would be
        refused again, also where the answer is cut short: the caller may ask otherwise. Raises
        ThrottledError, StoppedError.
        """
        what = f"get many of {len(record_ids)} Ids"
        parse = (
            pages.parse_array
            if form is GetManyForm.ARRAY
            else partial(pages.parse, number=1, size=len(record_ids))
        )
        page = self._call(
            what,
            f"{self._entity.path}{form.value}",
            self._get_many_url(record_ids, form),
            parse,
            GET_MANY_TRIES,
        )
        found = {_record_id(record): record for record in page.records}
        others = found.keys() - set(record_ids)
        if others or page.total_items > len(record_ids):
            message = (
                f"{what} was answered with a record not asked for, Id {next(iter(others), '?')}. "
                f"{CHECK_URL}"
            )
            raise UnknownFormError(message)
        if page.total_items > len(found):
            message = f"{what} was answered with {len(found)} records of {page.total_items}"
            raise RefusalError(message, status=None, transient=False)
        return {record_id: found[record_id] for record_id in record_ids if record_id in found}

    def answers_otherwise(self) -> bool:
        """Whether something comes that only the API answers: a page of the search, or the user.

        `/api/auth/me` is documented by the oldest edition only.
        """
        try:
            self.search(since=None, size=1, direction="0")
        except (AccessError, ApiError):
            pass
        else:
            return True
        return self.me() is not None

    def me(self, *, tries: int | None = None) -> dict[str, Any] | None:
        """What the API tells about the user; None where it tells nothing."""

        def parse(body: bytes) -> dict[str, Any]:
            return decode(body, dict[str, Any])

        try:
            me = self._call("who the user is", ME, f"{self._api_url}{ME}", parse, tries)
        except RefusalError:
            return None
        return me if "Businesses" in me or "IsAdmin" in me else None

    def search(
        self,
        *,
        since: str | None,
        until: str | None = None,
        page: int = 1,
        size: int,
        order_by: str = "UpdatedOn",
        direction: str,
        tries: int | None = None,
    ) -> Page:
        """A page, counted from 1, of the records updated from `since` to `until`, both included.

        The bounds are minutes (`2025-01-15T10:30`), and so exact to the beginning of a minute; None
        leaves an end open. Without bounds, records without `UpdatedOn` are among the others.
        `direction` is meant to be ascending: 0, 1 or a word, the API's editions differ.
        Raises AccessError where the user may not search, ApiError, ThrottledError, StoppedError.
        """
        updated_on = self._entity.filter("UpdatedOn")
        bounds = {f"from_{updated_on}": since, f"to_{updated_on}": until}
        query = {
            "page": page,
            "size": size,
            "orderBy": order_by,
            "dir": direction,
            **{name: bound for name, bound in bounds.items() if bound is not None},
        }
        what = f"page {page} of the search from {since or 'the beginning'}"
        try:
            return self._call(
                what,
                f"{self._entity.path}?page=",
                f"{self._url}?{urlencode(query, safe=':')}",
                lambda body: pages.parse(body, page, size),
                tries,
            )
        except RefusalError as refusal:
            raise _error(refusal, self._role_to_search) from refusal

    @property
    def _role_to_read(self) -> str:
        entity = self._entity
        return f"{entity.read_role} (get one; some editions want {entity.list_role} for get many)"

    @property
    def _role_to_search(self) -> str:
        entity = self._entity
        if entity.named_by is not None:
            # To configure Ids, which are another entity's, would narrow that one.
            return f"{entity.list_role} (search)"
        return f"{entity.list_role} (search); with {entity.read_role} alone, set record_ids"

    def _get_many_url(self, record_ids: Collection[int], form: GetManyForm) -> str:
        ids = f"[{','.join(map(str, record_ids))}]"
        if form is GetManyForm.ARRAY:
            return f"{self._url}/?id={ids}"
        return (
            f"{self._url}?{self._entity.filter('Id')}={ids}&page=1&size={max(len(record_ids), 1)}"
        )

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


def _error(
    refusal: RefusalError, role: str, final: type[ApiError] = ApiError
) -> AccessError | ApiError:
    """The words for a refusal that there is no way around; `role` is what the call needs.

    `final` is the kind for one that would be repeated.
    """
    if refusal.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        cause = (
            "The login works for other calls, so the user lacks"
            if refusal.login_works
            else "Either the token isn't valid, so check "
            f"{refusal.login or 'the login settings'}, or the user lacks"
        )
        return AccessError(f"Nexudus refuses access: {refusal}. {cause} the role {role}")
    if refusal.transient:
        return UnansweredError(f"The API fails: {refusal}. {TRY_AGAIN}")
    return final(f"The API fails: {refusal}. {CHECK_URL}")


def _record_id(record: Record) -> int | None:
    record_id = whole(record.get("Id"))
    return record_id if type(record_id) is int else None
