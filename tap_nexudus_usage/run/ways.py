"""The two ways of reading, by Id and by search, and what of it is due to be emitted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any

from tap_nexudus_usage.emission.due import Emission
from tap_nexudus_usage.emission.emitted import Emitted
from tap_nexudus_usage.errors import TapError
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.reading.asking import count
from tap_nexudus_usage.reading.by_id import ByIdReading
from tap_nexudus_usage.reading.by_search import Search
from tap_nexudus_usage.reading.fetch_ahead import fetch_ahead
from tap_nexudus_usage.reading.minutes import BEGINNING, minute_of
from tap_nexudus_usage.reading.proof import AbsentFromTable, is_proof
from tap_nexudus_usage.run.named import Asked, take
from tap_nexudus_usage.settings.checked import Settings

OnPoll = Callable[[], None]
"""Called while waiting, see `fetch_ahead`."""


class Reading:
    """The reading of one entity in a run, by Id or by search."""

    def __init__(
        self,
        settings: Settings,
        client: NexudusClient,
        emitted: Emitted,
        emission: Emission,
        asked: Asked | None,
        *,
        names: Mapping[str, dict[int, None]],
        decides_on_table: bool,
    ) -> None:
        """`emission` decides what is due, by what is in `emitted`.

        `asked`: the Ids to read, None where to search. `names`: fields that name Ids of other
        entities, and where to put those. `decides_on_table`: what doesn't come, or what it would
        have named, may be deleted from the target.
        """
        self._settings = settings
        self._client = client
        self._emitted = emitted
        self._emission = emission
        self._asked = asked
        self._names = names
        self._decides_on_table = decides_on_table
        self._search: Search | None = None

    def records(self, on_poll: OnPoll) -> Generator[dict[str, Any] | None, None, None]:
        """For each Id asked for, or record found, the record to emit; None if it isn't due.

        When the generator is closed, no thread is left but those whose call is under way.
        """
        if self._asked is None:
            return self._by_search(on_poll)
        return self._by_id(self._asked, on_poll)

    @property
    def counts(self) -> tuple[int, int] | None:
        """By search, how many records were read, and how many the API said there are."""
        return None if self._search is None else (len(self._search.seen), self._search.counted)

    def is_complete(self, on_poll: OnPoll) -> bool:
        """Whether all that there is was emitted, once `records` has come to its end.

        Then what a target has besides can be deleted.
        """
        asked = self._asked
        # Where no Id was named, nothing was asked, so nothing is proved either.
        is_unsure = asked is not None and not (asked.are_all and asked.record_ids)
        left_out = is_unsure or self._emission.left_something_out
        unfindable, holds_all = False, True
        if not left_out and self._search is not None:
            unfindable, holds_all = self._count(self._search, on_poll)
        return is_proof(
            AbsentFromTable(left_out=left_out, unfindable=unfindable, holds_all=holds_all)
        )

    def _by_id(self, asked: Asked, on_poll: OnPoll) -> Generator[dict[str, Any] | None, None, None]:
        settings = self._settings
        self._emitted.begin_by_id(asked.record_ids if asked.are_all else None)
        reading = ByIdReading(
            self._client,
            asked.record_ids,
            batch_size=settings.batch_size,
            threads=settings.max_concurrent_requests,
            must_be_proven=self._tells_deletion,
            on_poll=on_poll,
        )
        with closing(reading.answers()) as answers:
            for record_id, record in answers:
                if record is None:
                    yield self._emission.choose_missing(record_id)
                elif isinstance(record, TapError):
                    self._emission.leave_out(record_id, record)
                    yield None
                else:
                    # What names nothing although it should may have named what then isn't read.
                    is_clear = take(record, self._names)
                    yield self._emission.choose(record, must_be_valid=not is_clear)

    def _tells_deletion(self, record_id: int) -> bool:
        """Whether the absence of this Id has consequences beyond a line in the log."""
        told = self._settings.rules.on_missing_record
        return (
            self._decides_on_table
            or told == "fail"
            or (told == "tombstone" and record_id in self._emitted)
        )

    def _by_search(self, on_poll: OnPoll) -> Generator[dict[str, Any] | None, None, None]:
        settings = self._settings
        horizon = self._emitted.begin_by_search(timedelta(hours=settings.lookback_hours))
        bounds = (bound for bound in (horizon, settings.rules.start_date) if bound is not None)
        since = minute_of(max(bounds, default=BEGINNING))
        self._search = search = Search(self._client, since, page_size=settings.page_size)
        try:
            with closing(search.records(on_poll)) as found:
                yield from map(self._emission.choose, found)
        finally:
            # Whatever ended it: what wasn't shown may be older than all that was. Where that isn't
            # known yet, the next search begins where this one did, if it can do so without
            # repeating anything; a first load that is cut off again and again has to get on.
            may_be_short = not search.is_whole and self._emitted.remembers_all
            if search.is_short or may_be_short:
                self._emitted.rewind()

    def _count(self, search: Search, on_poll: OnPoll) -> tuple[bool, bool]:
        """Whether some records can't be found by `UpdatedOn`, and whether all others were.

        Where nothing was found, nothing proves that the API has shown what it has.
        """
        # In this order, so that a record deleted in between looks like one too many, not too few.
        calls = [partial(count, self._client, since) for since in (None, BEGINNING)]
        total, stamped = fetch_ahead(calls, threads=1, on_poll=on_poll)
        if total < stamped:
            # One came in between, or the first answer was empty in passing.
            total, stamped = fetch_ahead(calls, threads=1, on_poll=on_poll)
        return total != stamped, 0 < len(search.seen) >= total
