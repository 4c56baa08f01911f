"""The command `read`: records, states that cover them, and what became of each stream."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from tap_nexudus_usage.airbyte import failures, states
from tap_nexudus_usage.airbyte.messages import Messages
from tap_nexudus_usage.airbyte.streams import ConfiguredStream, data
from tap_nexudus_usage.emission.packed import count_entries
from tap_nexudus_usage.errors import ApiError, OutputError, TapError
from tap_nexudus_usage.run.checkpoints import Checkpoints
from tap_nexudus_usage.run.entity_run import EntityRun
from tap_nexudus_usage.run.run import Run

logger = logging.getLogger(__name__)

STATE_SECONDS = 600.0
"""Airbyte takes a source for dead that is silent for hours, as one may be while it is throttled."""


class StreamRead:
    """One stream's reading."""

    def __init__(self, messages: Messages, stream: ConfiguredStream, given: dict[str, Any]) -> None:
        """`given` is the state of the stream, empty where there is none."""
        self._messages = messages
        self._stream = stream
        self._name = stream.entity.stream
        self._cursor: int = given.get(states.CURSOR) or 0
        # Where the destination keeps what an unfinished refresh brought is for a refresh to see.
        begins_anew = stream.is_full != bool(given.get(states.UNFINISHED))
        self._state = {} if begins_anew else given
        self._is_finished = False
        self._since_state = 0
        self._written = 0
        self._checkpoints = Checkpoints(self._entries, STATE_SECONDS)
        self._part: EntityRun | None = None

    def write(self, run: Run) -> bool:
        """Write all messages of the stream; whether it was read to a good end.

        Raises what ends the run for all streams.
        """
        self._messages.status(self._name, "STARTED")
        try:
            self._write_records(run)
        except OutputError:
            raise
        except BaseException as error:
            self._end_early()
            if not isinstance(error, TapError) or error.concerns_all:
                raise
            self._messages.error(failures.trace(error, self._name))
            return False
        self._is_finished = True
        self._write_state()
        self._messages.status(self._name, "COMPLETE")
        return True

    def _end_early(self) -> None:
        if self._part is not None:
            self._write_state()
        self._messages.status(self._name, "INCOMPLETE")

    def keep_alive(self) -> None:
        """Write a STATE where none was for long; all that was written is covered by then."""
        is_under_way = self._part is not None and not self._is_finished
        if is_under_way and self._checkpoints.is_late():
            self._write_state()

    def _write_records(self, run: Run) -> None:
        stream = self._stream
        self._part = part = EntityRun(
            run,
            stream.entity,
            stream.entity.schema(),
            self._state,
            replaces_table=stream.is_full,
            on_remembered=self._count,
        )
        is_first = True
        with closing(part.records()) as records:
            for record in records:
                if is_first:
                    self._messages.status(self._name, "RUNNING")
                    is_first = False
                cursor = self._next_cursor()
                self._messages.record(self._name, data(record, cursor, stream.fields))
                self._since_state += 1
                self._written += 1
                part.wrote()
        if stream.is_full and not part.is_complete:
            self._tell_of_gaps(part)

    def _tell_of_gaps(self, part: EntityRun) -> None:
        """Say what a destination that replaces its table would lose; raises ApiError if all."""
        if not self._written and part.emitted.newest is None:
            message = (
                f"A full refresh of {self._name} found nothing. That would empty the table, and "
                "nothing proves that it should; synchronise incrementally, or try again later"
            )
            raise ApiError(message)
        logger.warning(
            "%s: this full refresh left records out (skipped as invalid, before start_date, "
            "without UpdatedOn, or more were counted than came); where it replaces a table, they "
            "are gone from it",
            self._name,
        )

    def _count(self) -> None:
        if self._checkpoints.count_one() or self._checkpoints.is_late():
            self._write_state()

    def _write_state(self) -> None:
        if self._part is not None:
            self._part.emitted.save()
        # Greater each time: two states that are equal, with records between, fail a sync.
        state = {**self._state, states.CURSOR: self._next_cursor()}
        if self._stream.is_full and not self._is_finished:
            state[states.UNFINISHED] = True
        self._messages.state(self._name, state, self._since_state)
        self._since_state = 0
        self._checkpoints.begin_anew()

    def _next_cursor(self) -> int:
        """Microseconds, as long as the clock isn't set back; always more than the one before."""
        self._cursor = max(self._cursor + 1, time.time_ns() // 1_000)
        return self._cursor

    def _entries(self) -> int:
        return count_entries(self._state.get("emitted"))


def read(run: Run, reads: Sequence[StreamRead]) -> bool:
    """Read one stream after the other; whether all came to a good end.

    Raises what ends the run for all of them.
    """
    outcomes = [one.write(run) for one in reads]
    return all(outcomes)
