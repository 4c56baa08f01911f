"""The Singer stream: schema, keys, and when STATE is written."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream, Tap
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.singerlib import Metadata, MetadataMapping
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from typing_extensions import override

from tap_nexudus_usage.emission.records import DELETED_AT
from tap_nexudus_usage.errors import OutputError, TapError
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.run.checkpoints import Checkpoints, entries
from tap_nexudus_usage.run.entity_run import EntityRun
from tap_nexudus_usage.run.run import Run
from tap_nexudus_usage.singer.call_metrics import call_metrics
from tap_nexudus_usage.singer.output import Output
from tap_nexudus_usage.singer.writer import BufferedWriter

if TYPE_CHECKING:
    from singer_sdk.helpers._batch import BatchConfig
    from singer_sdk.helpers.types import Context


class EntityStream(Stream):
    """The stream of an entity."""

    primary_keys = ("Id",)
    replication_key = "UpdatedOn"

    # `RecordShape` sees to types and to unknown fields.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    # The SDK's fixed number would make a run's STATE messages together grow with the square of its
    # Ids, each being as long as there are Ids: `Checkpoints` decides instead.
    STATE_MSG_FREQUENCY = sys.maxsize

    def __init__(
        self,
        tap: Tap,
        entity: Entity,
        run: Callable[[EntityStream], AbstractContextManager[Run]],
        writer: BufferedWriter,
    ) -> None:
        """Make the stream; it asks for the `run` that it is a part of once it is read."""
        self.selected_by_default = entity.selected_by_default
        super().__init__(tap, schema=entity.schema(), name=entity.stream)
        self.entity = entity
        self._run = run
        self._writer = writer
        self._part: EntityRun | None = None
        self._records: Generator[dict[str, Any], None, None] | None = None
        self._version_to_activate: int | None = None

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        """The records that are new to the target.

        When the SDK comes back for the next one, the one before has been written.
        """
        self._records = self._read(self._running)
        return self._records

    def _read(self, run: Run) -> Generator[dict[str, Any], None, None]:
        with call_metrics(self, self.entity.path) as run.on_answer:
            self._part = part = EntityRun(
                run,
                self.entity,
                self.schema,
                # A full table neither uses nor changes the state.
                {} if self._is_full_table else self.stream_state,
                replaces_table=self._version_to_activate is not None,
                on_remembered=self._write_state_if_due,
            )
            self._checkpoints = Checkpoints(lambda: entries(self.tap_state))
            with closing(part.records()) as records:
                for record in records:
                    # A copy, where the SDK drops deselected fields from what it is given.
                    yield record if self._output.takes_whole else dict(record)

    @property
    def _is_full_table(self) -> bool:
        return self.replication_method == REPLICATION_FULL_TABLE

    @property
    def replaces_table(self) -> bool:
        """Whether a target is told to delete what it has besides the records of a sync."""
        return self._is_full_table and bool(self.emit_activate_version_messages)

    @property
    @override
    def metadata(self) -> MetadataMapping:
        """The SDK's, but the mark of a tombstone can't be deselected: it would blank a row."""
        metadata = super().metadata
        metadata["properties", DELETED_AT].inclusion = Metadata.InclusionType.AUTOMATIC
        return metadata

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        """Log, except that an error was unhandled: it is put into words where the run ends."""
        if not message.startswith("An unhandled error occurred"):
            super().log(message, *args, level=level, **kwargs)

    @override
    def _write_schema_message(self) -> None:
        """Write SCHEMA, the stream's first message, if records can follow."""
        self._output = Output(self, self._writer)
        super()._write_schema_message()

    @override
    def _write_record_message(self, record: dict[str, Any]) -> None:
        """Write what becomes of a record, and tell the run where anything does."""
        if self._output.write(record) and self._part is not None:
            self._part.wrote()
        self.state_manager.is_flushed = False

    @override
    def _process_record(self, record: dict[str, Any], *_: Any, **__: Any) -> None:
        """Do nothing: there are no child streams."""

    # The SDK's private parts, replaced because the state here is more than a bookmark: it has to be
    # right after every record, in whatever order they come, and whatever ends the run.

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """None: the bookmark is what was emitted, not the time of the run."""

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        """Leave no marker in the state: where to start is `Emitted`'s to know."""

    @override
    def _increment_stream_state(
        self, latest_record: Mapping[str, Any], *, context: Context | None = None
    ) -> None:
        """Leave the state alone: `get_records` sees to it, once the record is written."""

    @override
    def _sync_batches(self, batch_config: BatchConfig, context: Context | None = None) -> None:
        """Sync as without batches; what would be a RECORD gets into the files."""
        with self.get_batch_counter() as counter:
            for _ in self._sync_records(context):
                pass
            counter.increment(self._output.files)

    @override
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[dict[str, Any], Any, Any]:
        """Sync as the SDK does, and write STATE when that fails or is stopped, too.

        What fails ends the run only where other streams would fail as well; else the run tells of
        it at its end.
        """
        # The SDK leaves a STATE out that equals the one before; the last one is what counts as this
        # run's, so it is written even if nothing has changed.
        self._writer.states.forget()
        with self._run(self) as run:
            self._running = run
            try:
                yield from super()._sync_records(context, write_messages=write_messages)
            except (GeneratorExit, OutputError):
                # After half a line, a STATE could be taken for one that covers it.
                raise
            except TapError as error:
                self._write_state_now()
                self._version_to_activate = None
                run.leave_out(self.entity, error)
            except BaseException:
                self._write_state_now()
                raise
            finally:
                # A record that could not be written leaves them suspended, and calls going on.
                if self._records is not None:
                    self._records.close()

    def _write_state_if_due(self) -> None:
        """Write a STATE from time to time; it would cut a batch's file short, so not within one."""
        if self._checkpoints.count_one() and self._output.is_between_files:
            self._write_state_now()
            self._checkpoints.begin_anew()

    def _write_state_now(self) -> None:
        self.state_manager.is_flushed = False
        self._write_state_message()

    @override
    def _write_state_message(self) -> None:
        """Write a STATE, without what no later run needs, after all that it covers."""
        self._output.flush()
        if self._part is not None and not self._is_full_table:
            self._part.emitted.save()
        super()._write_state_message()

    @override
    def _write_activate_version_message(self, full_table_version: int) -> None:
        """Keep the message for the end.

        The SDK writes it before the first record: a run that then fails has emptied the table.
        """
        self._version_to_activate = full_table_version

    @override
    def finalize_state_progress_markers(self, state: dict[str, Any] | None = None) -> None:
        """Finish as the SDK does, which comes here after a sync that went well only.

        What the target's table has besides the records of a complete read is then deleted. BATCH
        messages carry no version: all of their rows would be.
        """
        super().finalize_state_progress_markers(state)
        if self._version_to_activate is None:
            return
        if self._part is not None and self._part.is_complete and self._output.version is not None:
            super()._write_activate_version_message(self._version_to_activate)
        else:
            self.log(
                "No ACTIVATE_VERSION is written, so deleted records stay in the target's table: "
                "this run left records out (skipped as invalid, before start_date, without "
                "UpdatedOn), couldn't find out which there are, or wrote batches",
                level=logging.WARNING,
            )
