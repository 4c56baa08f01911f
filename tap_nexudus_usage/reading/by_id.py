"""Reading configured Ids, with as few calls as the tenant allows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from http import HTTPStatus

from tap_nexudus_usage.errors import RefusalError, UnansweredError
from tap_nexudus_usage.nexudus.client import NexudusClient, Record
from tap_nexudus_usage.reading.fetch_ahead import fetch_ahead

logger = logging.getLogger(__name__)

MOST_FAILURES_IN_A_ROW = 3
"""Ids that may get no answer, one after the other, before the run is given up."""

Found = dict[int, Record | UnansweredError]
"""By Id, the records that exist; an error where that can't be told."""


def read_by_id(
    client: NexudusClient,
    record_ids: Sequence[int],
    *,
    batch_size: int,
    threads: int,
    must_be_sure: Callable[[int], bool],
    on_poll: Callable[[], None],
) -> Generator[tuple[int, Record | UnansweredError | None], None, None]:
    """Yield each Id with its record, or with None where there is none, in the order given.

    An Id that gets no usable answer, while others do, comes with the error.

    `must_be_sure` tells of which Ids an absence has to be confirmed by a "get one". `on_poll` is
    called while waiting, see `fetch_ahead`. Raises what `NexudusClient.get_one` raises.
    """
    batches = Batches(client, batch_size, must_be_sure)
    results = fetch_ahead(batches.calls(record_ids), threads=threads, on_poll=on_poll)
    with closing(results):
        for ids, found in results:
            for record_id in ids:
                yield record_id, found.get(record_id)


class Batches:
    """Reads Ids through "get many" where the tenant lets it, through "get one" where not.

    What one batch learns about the tenant serves the next: the size that works, and whether there
    is a "get many" at all. Methods may be called from several threads.
    """

    def __init__(
        self, client: NexudusClient, size: int, must_be_sure: Callable[[int], bool]
    ) -> None:
        """Begin with batches of `size` Ids; 1 means always "get one"."""
        self._client = client
        self._size = size
        self._must_be_sure = must_be_sure
        self._get_many_works = False
        self._largest_accepted = 0
        self._failures_in_a_row = 0
        self._lock = threading.Lock()

    def calls(
        self, record_ids: Sequence[int]
    ) -> Iterator[Callable[[], tuple[Sequence[int], Found]]]:
        """Cut `record_ids` into reads, each of as many Ids as have proved to work by then."""
        position = 0
        while position < len(record_ids):
            ids = self._cut(record_ids, position)
            position += len(ids)
            yield partial(self._read_with_ids, ids)

    def read(self, ids: Sequence[int]) -> Found:
        """The records that exist of `ids`, by Id."""
        found, _ = self._read(ids)
        absent = _without(ids, found)
        if absent and len(ids) > 1 and self._get_many_works:
            found |= self._look_again(absent, got_nothing=not found)
        return found

    def _read_with_ids(self, ids: Sequence[int]) -> tuple[Sequence[int], Found]:
        return ids, self.read(ids)

    def _cut(self, record_ids: Sequence[int], start: int) -> Sequence[int]:
        room = self._client.room_for_ids
        stop = start
        while stop < min(start + self._size, len(record_ids)):
            room -= len(str(record_ids[stop])) + 1
            if room < 0:
                break
            stop += 1
        return record_ids[start : max(stop, start + 1)]

    def _look_again(self, absent: Sequence[int], *, got_nothing: bool) -> Found:
        """Absence is how a deletion shows, but a capped or hiccuping answer looks the same.

        Those absent are asked for as long as that brings any more. Then some of them by "get one",
        whose 404 is certain, and all where that brings one which "get many" kept back. Nothing but
        a 404 will do where `must_be_sure` says so.
        """
        found: Found = {}
        while len(absent) > 1 and (more := self._read(absent)[0]):
            found |= more
            absent = _without(absent, more)
            got_nothing = False
        sample = [absent[0], absent[len(absent) // 2], absent[-1]] if got_nothing else absent[:1]
        certain = dict.fromkeys([*sample, *filter(self._must_be_sure, absent)])
        kept_back = self._read_one_by_one(list(certain))
        if kept_back:
            found |= kept_back | self._read_one_by_one(_without(absent, certain))
        return found

    def _read(self, ids: Sequence[int]) -> tuple[Found, bool]:
        """The records of `ids`, and whether one get many sufficed."""
        if len(ids) == 1 or self._size == 1:
            return self._read_one_by_one(ids), False
        if len(ids) > self._size:
            return self._read_in_parts(ids, self._size), False
        try:
            found: Found = {**self._client.get_many(ids)}
        except RefusalError as refusal:
            return self._read_refused(ids, refusal), False
        self._get_many_works = True
        self._largest_accepted = max(self._largest_accepted, len(ids))
        return found, True

    def _read_one_by_one(self, ids: Sequence[int]) -> Found:
        records = ((record_id, self._get_one(record_id)) for record_id in ids)
        return {record_id: record for record_id, record in records if record is not None}

    def _get_one(self, record_id: int) -> Record | UnansweredError | None:
        """What "get one" gives; an error too, until so many in a row show that nothing works."""
        try:
            record = self._client.get_one(record_id)
        except UnansweredError as error:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= MOST_FAILURES_IN_A_ROW:
                raise
            return error
        self._failures_in_a_row = 0
        return record

    def _read_refused(self, ids: Sequence[int], refusal: RefusalError) -> Found:
        """The records of `ids`, which as a whole were refused."""
        role_missing = refusal.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        with self._lock:
            if self._size > 1 and (role_missing or not self._get_many_works):
                self._find_out_why(ids, refusal, role_missing=role_missing)
        return self._read_in_parts(ids, min(self._size, (len(ids) + 1) // 2))

    def _find_out_why(
        self, ids: Sequence[int], refusal: RefusalError, *, role_missing: bool
    ) -> None:
        """Tell a tenant without get many, for this user, from one that dislikes this batch.

        "Get one" comes second: it ends the run where there is no access, and waits until an outage
        is over. The last Id comes third, in case it is the first that is poisonous.
        """
        if not role_missing and self._accepts(ids[0]):
            return
        self._get_one(ids[0])
        if not role_missing and self._accepts(ids[-1]):
            return
        self._size = 1
        logger.info("Reading one by one from here on: %s", refusal)

    def _accepts(self, record_id: int) -> bool:
        try:
            self._client.get_many([record_id])
        except RefusalError:
            return False
        self._get_many_works = True
        return True

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


def _without(ids: Sequence[int], others: Container[int]) -> list[int]:
    return [record_id for record_id in ids if record_id not in others]
