"""The Singer stream: schema, keys, and when STATE is written."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from singer_sdk import SchemaDirectory, Stream, StreamSchema, metrics
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.singerlib import Metadata, MetadataMapping
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from typing_extensions import override

from tap_nexudus_usage.emission.emission import Emission
from tap_nexudus_usage.emission.emitted import Emitted
from tap_nexudus_usage.emission.records import DELETED_AT, RecordShape
from tap_nexudus_usage.errors import OutputError
from tap_nexudus_usage.nexudus.connection import connect
from tap_nexudus_usage.nexudus.entities import LEDGER, SCHEMAS
from tap_nexudus_usage.run.progress import Progress
from tap_nexudus_usage.run.reading import Reading
from tap_nexudus_usage.singer.output import Output

if TYPE_CHECKING:
    from singer_sdk.helpers._batch import BatchConfig
    from singer_sdk.helpers.types import Context

    from tap_nexudus_usage.singer.tap import TapNexudusUsage

STATE_EVERY = 10_000
"""Records between two STATE messages, or as many as the state has entries if that is more."""


class UsageStream(Stream):
    """The ledger of consumed extra-service credits (CoworkerExtraServiceUseHistory)."""

    name = "coworker_extra_service_use_histories"
    primary_keys = ("Id",)
    replication_key = "UpdatedOn"
    schema = StreamSchema(SchemaDirectory(SCHEMAS))

    # `RecordShape` sees to types and to unknown fields.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    # The SDK's fixed number would make a run's STATE messages together grow with the square of its
    # Ids, each being as long as there are Ids: `_wrote_one` decides instead.
    STATE_MSG_FREQUENCY = sys.maxsize

    def __init__(self, tap: TapNexudusUsage) -> None:
        """Make the stream; nothing is called before it is read."""
        super().__init__(tap)
        self._nexudus_tap = tap
        self._emitted = Emitted({}, "")
        self._records_to_next_state = STATE_EVERY
        self._was_written = False
        self._records: Generator[dict[str, Any], None, None] | None = None
        self._version_to_activate: int | None = None
        self._may_activate = False

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        """The records that are new to the target.

        When the SDK comes back for the next one, the one before has been written.
        """
        self._records = self._read()
        return self._records

    def _read(self) -> Generator[dict[str, Any], None, None]:
        tap = self._nexudus_tap
        settings = tap.settings
        # A full table neither uses nor changes the state.
        state = {} if self._is_full_table else self.stream_state
        self._emitted = emitted = Emitted(state, self.replication_key or "")
        self._records_to_next_state = max(STATE_EVERY, len(emitted))
        emission = Emission(
            settings.rules, RecordShape(self.schema, LEDGER.json_text_fields), emitted
        )
        with (
            metrics.http_request_counter(self.name, LEDGER.path) as counter,
            connect(
                settings.connection,
                clock_speed=tap.clock_speed,
                redactor=tap.redactor,
                on_answer=partial(self._log_answer, counter),
            ) as connection,
            Progress(len(settings.record_ids) or None, connection) as progress,
            ExitStack() as stack,
        ):

            def on_poll() -> None:
                tap.raise_if_terminated()
                progress.tick()
                # What is written so far is of use to the target while this run waits.
                tap.writer.flush()

            reading = Reading(
                settings,
                connection.client(LEDGER),
                emitted,
                emission,
                replaces_table=self._version_to_activate is not None,
            )
            for record in stack.enter_context(closing(reading.records(on_poll))):
                self._was_written = False
                if record is not None:
                    # A copy, where the SDK drops deselected fields from what it is given.
                    yield record if self._output.takes_whole else dict(record)
                    if self._was_written:
                        emission.remember(record)
                        self._wrote_one()
                    else:
                        self._pass_over(record)
                progress.advance(emitted=self._was_written)
                tap.raise_if_terminated()
            progress.counts = reading.counts
            if self._version_to_activate is not None:
                self._may_activate = reading.is_complete(on_poll)
        emission.finish()

    def _pass_over(self, record: dict[str, Any]) -> None:
        """Go on after a record that a map's filter has dropped, without taking it for emitted.

        By Id it comes as soon as the filter lets it; a search doesn't go back for it.
        """
        if record[DELETED_AT] is None:
            self._emitted.advance(record.get(self.replication_key or ""))

    @property
    def _is_full_table(self) -> bool:
        return self.replication_method == REPLICATION_FULL_TABLE

    def _log_answer(
        self, counter: metrics.Counter, endpoint: str, status: int, seconds: float
    ) -> None:
        counter.increment()
        succeeded = status < HTTPStatus.BAD_REQUEST
        tags: dict[str, Any] = {
            metrics.Tag.STREAM: self.name,
            metrics.Tag.ENDPOINT: endpoint,
            metrics.Tag.HTTP_STATUS_CODE: status,
            metrics.Tag.STATUS: metrics.Status.SUCCEEDED if succeeded else metrics.Status.FAILED,
        }
        metric = metrics.Metric.HTTP_REQUEST_DURATION
        self._log_metric(metrics.Point("timer", metric, seconds, tags))

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
        self._output = Output(self, self._nexudus_tap.writer)
        super()._write_schema_message()

    @override
    def _write_record_message(self, record: dict[str, Any]) -> None:
        """Write what becomes of a record, and remember whether anything does."""
        self._was_written = self._output.write(record)
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
        """Sync as the SDK does, and write STATE when that fails or is stopped, too."""
        # The SDK leaves a STATE out that equals the one before; the last one is what counts as this
        # run's, so it is written even if nothing has changed.
        self._nexudus_tap.write_next_state()
        try:
            yield from super()._sync_records(context, write_messages=write_messages)
        except (GeneratorExit, OutputError):
            # After half a line, a STATE could be taken for one that covers it.
            raise
        except BaseException:
            self._write_state_now()
            raise
        finally:
            # A record that could not be written leaves them suspended, and calls going on.
            if self._records is not None:
                self._records.close()

    def _wrote_one(self) -> None:
        """Write a STATE from time to time, the more rarely the longer it is.

        It would cut a batch's file short, so it waits for the end of one.
        """
        self._records_to_next_state -= 1
        if self._records_to_next_state <= 0 and self._output.is_between_files:
            self._write_state_now()
            self._records_to_next_state = max(STATE_EVERY, len(self._emitted))

    def _write_state_now(self) -> None:
        self.state_manager.is_flushed = False
        self._write_state_message()

    @override
    def _write_state_message(self) -> None:
        """Write a STATE, without what no later run needs, after all that it covers."""
        self._output.flush()
        self._emitted.prune()
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
        if self._may_activate and self._output.version is not None:
            super()._write_activate_version_message(self._version_to_activate)
        else:
            self.log(
                "No ACTIVATE_VERSION is written, so deleted records stay in the target's table: "
                "this run left records out (skipped as invalid, before start_date, without "
                "UpdatedOn), or wrote batches",
                level=logging.WARNING,
            )
