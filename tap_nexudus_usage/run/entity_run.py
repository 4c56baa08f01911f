"""The reading of one entity: plain records that are due, remembered once they are written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, MutableMapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

from tap_nexudus_usage.emission.due import Emission, Rules
from tap_nexudus_usage.emission.emitted import Emitted
from tap_nexudus_usage.emission.records import RecordShape
from tap_nexudus_usage.errors import TapError
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.run.run import Run
from tap_nexudus_usage.run.ways import Reading

logger = logging.getLogger(__name__)


class EntityRun:
    """A run's part for one entity. Whoever iterates its records tells it which were written.

    Attributes:
        emitted: what the state remembers; it lives in the state given.
        is_complete: with `replaces_table`, once all records came: whether a target may delete what
            it has besides them.
    """

    def __init__(
        self,
        run: Run,
        entity: Entity,
        schema: Mapping[str, Any],
        state: MutableMapping[str, Any],
        *,
        replaces_table: bool = False,
        rules: Rules | None = None,
        on_remembered: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_remembered` is called when the state covers the record written before.

        `rules` are the settings' unless given. Raises SettingsError where the state can't be
        understood.
        """
        self.emitted = Emitted(state, "UpdatedOn")
        self.is_complete = False
        self._run = run
        self._entity = entity
        self._schema = schema
        self._replaces_table = replaces_table
        self._rules = rules or run.settings.rules
        self._on_remembered = on_remembered
        self._was_written = False

    def wrote(self) -> None:
        """Take note that the record given last was written, so that the state may cover it."""
        self._was_written = True

    def records(self) -> Generator[dict[str, Any], None, None]:
        """Yield the records that are due; coming back for the next one settles the one before.

        Raises TapError, Terminated.
        """
        run, entity = self._run, self._entity
        unnamed = self._make_sure_of_names()
        asked = run.asked(entity)
        if asked is not None and not asked.are_all:
            logger.warning(
                "%s: only the %d Ids that could be found out are read; which there are besides, "
                "the records that were left out would have told",
                entity.stream,
                len(asked.record_ids),
            )
        shape = RecordShape(self._schema, entity.json_text_fields)
        emission = Emission(self._rules, shape, self.emitted, entity.name)
        reading = Reading(
            run.settings,
            run.connection.client(entity),
            self.emitted,
            emission,
            asked,
            names=run.named.fields(entity),
            decides_on_table=run.decides_on_table(entity),
        )
        run.named.begin(entity)
        total = None if asked is None else len(asked.record_ids)
        with run.progress.of(entity.stream, total) as part, ExitStack() as stack:
            for record in stack.enter_context(closing(reading.records(run.on_poll))):
                self._was_written = False
                if record is not None:
                    yield record
                    emission.settle(record, was_written=self._was_written)
                if self._was_written:
                    self._on_remembered()
                run.progress.advance(emitted=self._was_written)
                run.raise_if_stopped()
            part.counts = reading.counts
            if emission.has_read_all:
                run.named.finish(entity)
            if self._replaces_table:
                self.is_complete = reading.is_complete(run.on_poll)
        emission.finish()
        if unnamed is not None:
            raise unnamed

    def _make_sure_of_names(self) -> TapError | None:
        """Read the records that name the Ids of this entity, unless this run has read them.

        Returns why not all of them could be read: those that could name Ids all the same.
        """
        run, named_by = self._run, self._entity.named_by
        if not run.settings.record_ids or named_by is None or run.named.was_begun(named_by.entity):
            return None
        source = named_by.entity
        # Nobody selected it, so what it lacks isn't told as loudly.
        rules = replace(self._rules, on_missing_record="warn", on_invalid_record="warn")
        reading = EntityRun(run, source, source.schema(), {}, rules=rules)
        try:
            with closing(reading.records()) as records:
                for _ in records:
                    pass
        except TapError as error:
            if error.concerns_all:
                raise
            return error
        return None
