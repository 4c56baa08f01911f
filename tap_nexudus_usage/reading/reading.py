"""The two ways of reading, by Id and by search, and what of it is due to be emitted."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from datetime import timedelta
from typing import Any

from tap_nexudus_usage.emission.emission import Emission
from tap_nexudus_usage.emission.emitted import Emitted
from tap_nexudus_usage.errors import UnansweredError
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.reading.by_id import read_by_id
from tap_nexudus_usage.reading.by_search import (
    BEGINNING,
    finds_everything,
    minute_of,
    read_by_search,
)
from tap_nexudus_usage.settings import Settings

OnPoll = Callable[[], None]
"""Called while waiting, see `concurrency.fetch_ahead`."""


class Reading:
    """One run's reading, by Id where any Id is configured, else by search."""

    def __init__(
        self, settings: Settings, client: NexudusClient, emitted: Emitted, emission: Emission
    ) -> None:
        """`emission` decides what is due, by what is in `emitted`."""
        self._settings = settings
        self._client = client
        self._emitted = emitted
        self._emission = emission

    def records(self, on_poll: OnPoll) -> Generator[dict[str, Any] | None, None, None]:
        """For each Id asked for, or record found, the record to emit; None if it isn't due.

        When the generator is closed, no thread is left but those whose call is under way.
        """
        return self._by_id(on_poll) if self._settings.record_ids else self._by_search(on_poll)

    def is_complete(self, on_poll: OnPoll) -> bool:
        """Whether all that there is was emitted, once `records` has come to its end.

        Then what a target has besides can be deleted.
        """
        if self._emission.left_something_out:
            return False
        return bool(self._settings.record_ids) or finds_everything(self._client, on_poll=on_poll)

    def _by_id(self, on_poll: OnPoll) -> Generator[dict[str, Any] | None, None, None]:
        settings = self._settings
        self._emitted.begin_by_id(settings.record_ids)
        deletable = settings.record_ids if settings.on_missing_record == "tombstone" else ()
        found = read_by_id(
            self._client,
            settings.record_ids,
            batch_size=settings.batch_size,
            threads=settings.max_concurrent_requests,
            must_be_sure=frozenset(filter(self._emitted.__contains__, deletable)).__contains__,
            on_poll=on_poll,
        )
        with closing(found):
            for record_id, raw in found:
                if raw is None:
                    yield self._emission.choose_missing(record_id)
                elif isinstance(raw, UnansweredError):
                    self._emission.leave_out(record_id, raw)
                    yield None
                else:
                    yield self._emission.choose(raw)

    def _by_search(self, on_poll: OnPoll) -> Generator[dict[str, Any] | None, None, None]:
        settings = self._settings
        horizon = self._emitted.begin_by_search(timedelta(hours=settings.lookback_hours))
        bounds = (bound for bound in (horizon, settings.start_date) if bound is not None)
        since = minute_of(max(bounds, default=BEGINNING))
        found = read_by_search(self._client, since, page_size=settings.page_size, on_poll=on_poll)
        with closing(found):
            yield from map(self._emission.choose, found)
