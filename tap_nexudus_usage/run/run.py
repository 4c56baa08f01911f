"""The reading of one entity: plain records that are due, remembered once they are written."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, MutableMapping
from contextlib import ExitStack, closing
from typing import Any

from tap_nexudus_usage.emission.due import Emission
from tap_nexudus_usage.emission.emitted import Emitted
from tap_nexudus_usage.emission.records import RecordShape
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.transport import OnAnswer
from tap_nexudus_usage.run.progress import Progress
from tap_nexudus_usage.run.surroundings import Surroundings
from tap_nexudus_usage.run.ways import Reading


class Run:
    """One run for one entity. Whoever iterates its records tells it which of them were written.

    Attributes:
        emitted: what the state remembers; it lives in the state given.
        is_complete: with `replaces_table`, once all records came: whether a target may delete what
            it has besides them.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        entity: Entity,
        schema: Mapping[str, Any],
        state: MutableMapping[str, Any],
        *,
        replaces_table: bool,
        on_answer: OnAnswer,
        on_remembered: Callable[[], None],
    ) -> None:
        """`on_remembered` is called when the state covers the record written before.

        Raises SettingsError where the state can't be understood.
        """
        self.emitted = Emitted(state, "UpdatedOn")
        self.is_complete = False
        self._surroundings = surroundings
        self._entity = entity
        self._schema = schema
        self._replaces_table = replaces_table
        self._on_answer = on_answer
        self._on_remembered = on_remembered
        self._was_written = False

    def wrote(self) -> None:
        """Take note that the record given last was written, so that the state may cover it."""
        self._was_written = True

    def records(self) -> Generator[dict[str, Any], None, None]:
        """Yield the records that are due; coming back for the next one settles the one before.

        Raises TapError, Terminated.
        """
        surroundings, settings = self._surroundings, self._surroundings.settings
        shape = RecordShape(self._schema, self._entity.json_text_fields)
        emission = Emission(settings.rules, shape, self.emitted)
        with (
            surroundings.connect(self._on_answer) as connection,
            Progress(len(settings.record_ids) or None, connection) as progress,
            ExitStack() as stack,
        ):

            def on_poll() -> None:
                surroundings.termination.raise_if_asked()
                progress.tick()
                surroundings.flush()

            client = connection.client(self._entity)
            reading = Reading(
                settings, client, self.emitted, emission, replaces_table=self._replaces_table
            )
            for record in stack.enter_context(closing(reading.records(on_poll))):
                self._was_written = False
                if record is not None:
                    yield record
                    emission.settle(record, was_written=self._was_written)
                if self._was_written:
                    self._on_remembered()
                progress.advance(emitted=self._was_written)
                surroundings.termination.raise_if_asked()
            progress.counts = reading.counts
            if self._replaces_table:
                self.is_complete = reading.is_complete(on_poll)
        emission.finish()
