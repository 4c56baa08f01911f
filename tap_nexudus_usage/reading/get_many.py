"""Reading Ids with as few calls as the tenant allows: what one call teaches serves the next."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http import HTTPStatus

from tap_nexudus_usage.errors import (
    AccessError,
    RefusalError,
    TapError,
    UnansweredError,
    UnknownFormError,
)
from tap_nexudus_usage.nexudus.client import GetManyForm, NexudusClient
from tap_nexudus_usage.nexudus.pages import Record

logger = logging.getLogger(__name__)

MOST_FAILURES_IN_A_ROW = 3
"""Ids without an answer, one after the other, before it is looked whether anything works."""

NOTHING_FOUND = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
"""What some editions answer to a get many where none of its Ids exists."""

REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

Found = dict[int, Record | TapError]
"""By Id, the records that exist; an error where that can't be told."""


class Batches:
    """Reads Ids through "get many" where the tenant lets it, through "get one" where not.

    What it learns: which form of get many is understood, if any, and the size that works. Methods
    may be called from several threads.
    """

    def __init__(self, client: NexudusClient, size: int, record_ids: Sequence[int]) -> None:
        """Begin with batches of `size` of the Ids; 1 means always "get one"."""
        self.is_settling = False
        """Whether all have been asked for once: what isn't known of the tenant by then stays so."""
        self._client = client
        self._record_ids = record_ids
        self._size = size
        self._form: GetManyForm | None = GetManyForm.ARRAY if size > 1 else None
        self._is_form_proven = False
        self._largest_accepted = 0
        self._failures_in_a_row = 0
        self._lock = threading.Lock()
        self._failures_lock = threading.Lock()
        self._given_up = False
        self._well_read: deque[int] = deque(maxlen=3)

    @property
    def has_read_well(self) -> bool:
        """Whether any record has come in this run."""
        return bool(self._well_read)

    @property
    def reads_many(self) -> bool:
        """Whether get many is in use."""
        return self._form is not None

    def calls(
        self, record_ids: Sequence[int]
    ) -> Iterator[Callable[[], tuple[Sequence[int], Found]]]:
        """Cut `record_ids` into reads, each of as many Ids as have proved to work by then."""
        position = 0
        while position < len(record_ids):
            ids = self._cut(record_ids, position)
            position += len(ids)
            yield partial(self._read_with_ids, ids)

    def get_one(self, record_id: int, tries: int | None = None) -> Record | TapError | None:
        """What "get one" gives: the record, None where there is none; an error where that fails.

        Raises the error where nothing else works either.
        """
        try:
            record = self._client.get_one(record_id, tries=tries)
        except (UnansweredError, AccessError) as error:
            with self._failures_lock:
                self._failures_in_a_row += 1
                is_access = isinstance(error, AccessError) and not self._well_read
                if is_access or self._failures_in_a_row >= MOST_FAILURES_IN_A_ROW:
                    self._look_whether_anything_works(record_id, error)
            return error
        self._failures_in_a_row = 0
        if record is not None:
            self._well_read.append(record_id)
        return record

    def api_answers(self, times: int) -> bool:
        """Whether it is the API that answers: a record read before comes again, so many times.

        Where no record has come, the API has to answer something else as only it does.
        """
        if not self._well_read:
            return self._client.answers_otherwise()
        known_id = self._well_read[-1]
        return all(self._is_there(known_id) for _ in range(times))

    def _read_with_ids(self, ids: Sequence[int]) -> tuple[Sequence[int], Found]:
        return ids, self._read(ids)[0]

    def _cut(self, record_ids: Sequence[int], start: int) -> Sequence[int]:
        room = self._client.room_for_ids(self._form) if self._form else 0
        stop = start
        while stop < min(start + self._size, len(record_ids)):
            room -= len(str(record_ids[stop])) + 1
            if room < 0:
                break
            stop += 1
        return record_ids[start : max(stop, start + 1)]

    def _read(self, ids: Sequence[int]) -> tuple[Found, bool]:
        """The records of `ids`, and whether one get many sufficed."""
        form = self._form
        if form is None or len(ids) == 1:
            return self._read_one_by_one(ids), False
        if len(ids) > self._size:
            return self._read_in_parts(ids, self._size), False
        try:
            records = self._client.get_many(ids, form)
        except UnknownFormError as error:
            with self._lock:
                if self._form is form:
                    self._take_form(form.other, error)
            return self._read(ids)
        except RefusalError as refusal:
            return self._read_refused(ids, form, refusal)
        self._is_form_proven = True
        self._largest_accepted = max(self._largest_accepted, len(ids))
        self._well_read.extend([*records][-1:])
        found: Found = {**records}
        return found, True

    def _read_one_by_one(self, ids: Sequence[int]) -> Found:
        records = ((record_id, self.get_one(record_id)) for record_id in ids)
        return {record_id: record for record_id, record in records if record is not None}

    def _read_refused(
        self, ids: Sequence[int], form: GetManyForm, refusal: RefusalError
    ) -> tuple[Found, bool]:
        """The records of `ids`, which as a whole were refused."""
        says_none = refusal.status in NOTHING_FOUND
        if says_none and self._is_form_proven and len(ids) <= self._largest_accepted:
            return {}, True
        with self._lock:
            if self._form is form and (refusal.status in REFUSED or not self._is_form_proven):
                is_told = self._find_out_why(ids, form, refusal)
                if not is_told and says_none and not self.is_settling:
                    # Another batch, of which some exist, will tell.
                    return {}, False
        if self._form is not form:
            return self._read(ids)
        return self._read_in_parts(ids, min(self._size, (len(ids) + 1) // 2)), False

    def _find_out_why(self, ids: Sequence[int], form: GetManyForm, refusal: RefusalError) -> bool:
        """Tell a tenant without this form, for this user, from one that dislikes this batch.

        "Get one" comes second: it ends the run where there is no access, and waits until an outage
        is over. The last Id comes third, in case it is the first that is poisonous. Whether that
        told: where neither exists, some editions answer as if there were no get many.
        """
        role_missing = refusal.status in REFUSED
        if not role_missing and self._accepts(form, ids[0]):
            return True
        exists = self.get_one(ids[0]) is not None
        if not role_missing and self._accepts(form, ids[-1]):
            return True
        other = form.other
        if other is not None and not any(self._accepts(other, i) for i in (ids[0], ids[-1])):
            other = None
        if other is None and not exists and self.get_one(ids[-1]) is None and not self.is_settling:
            return False
        self._take_form(other, refusal)
        return True

    def _accepts(self, form: GetManyForm, record_id: int) -> bool:
        try:
            self._client.get_many([record_id], form)
        except (RefusalError, UnknownFormError):
            return False
        self._is_form_proven = True
        return True

    def _take_form(self, form: GetManyForm | None, reason: Exception) -> None:
        self._form = form
        how = "one by one" if form is None else f"many at once by {form.value}"
        logger.info("Reading Ids %s from here on: %s", how, reason)

    def _read_in_parts(self, ids: Sequence[int], size: int) -> Found:
        """The records of `ids`, read in parts of `size`.

        The size is remembered if it did for all parts while more were never accepted. Parts of one
        Id prove nothing: they don't go through get many.
        """
        found: Found = {}
        all_accepted = True
        for start in range(0, len(ids), size):
            part, accepted = self._read(ids[start : start + size])
            found |= part
            all_accepted = all_accepted and accepted
        if all_accepted and self._largest_accepted <= size < self._size:
            self._size = size
            logger.info("Reading %d Ids a call from here on: more are refused", size)
        return found

    def _look_whether_anything_works(self, record_id: int, error: TapError) -> None:
        """Raise `error` where no other record can be read: then it isn't this Id's own."""
        if self._given_up:
            raise error
        self._failures_in_a_row = 0
        ids = self._record_ids
        known = [*self._well_read][::-1] or [ids[-1], ids[len(ids) // 2], ids[0]]
        others = [other for other in known if other != record_id]
        if not any(self._is_there(other) for other in others[:2]):
            self._given_up = True
            raise error

    def _is_there(self, record_id: int) -> bool:
        try:
            if self._client.get_one(record_id) is None:
                return False
        except (UnansweredError, AccessError):
            return False
        self._well_read.append(record_id)
        return True
