"""The Singer stream: schema, keys, and when STATE is written."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk import SchemaDirectory, Stream, StreamSchema, metrics
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from typing_extensions import override

from tap_nexudus_usage.client import PATH
from tap_nexudus_usage.connection import connect
from tap_nexudus_usage.emission import Emission
from tap_nexudus_usage.emitted import Emitted
from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.ledger import read_by_id
from tap_nexudus_usage.progress import Progress
from tap_nexudus_usage.records import RecordShape

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Context

    from tap_nexudus_usage.tap import TapNexudusUsage

STATE_EVERY = 10_000
"""Records between two STATE messages, or as many as the state has entries if that is more."""


def _schemas() -> Path:
    """Where the schemas lie: inside the package when installed, beside it in a checkout."""
    inside = Path(__file__).parent / "schemas"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "schemas"


class UsageStream(Stream):
    """The ledger of consumed extra-service credits (CoworkerExtraServiceUseHistory)."""

    name = "coworker_extra_service_use_histories"
    primary_keys = ("Id",)
    replication_key = "UpdatedOn"
    schema = StreamSchema(SchemaDirectory(_schemas()))

    # `RecordShape` sees to types and to unknown fields.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    # The SDK's fixed number would make a run's STATE messages together grow with the square of its
    # Ids, each being as long as there are Ids: `_wrote` decides instead.
    STATE_MSG_FREQUENCY = sys.maxsize

    def __init__(self, tap: TapNexudusUsage) -> None:
        """Make the stream; nothing is called before it is read."""
        super().__init__(tap)
        self._nexudus_tap = tap
        self._records_to_next_state = STATE_EVERY
        self._writes_records = True

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        """Yield the records that are new to the target.

        When the SDK comes back for the next one, the one before has been written.
        """
        tap = self._nexudus_tap
        settings = tap.settings
        if not settings.record_ids:
            message = "No Ids: set record_ids or record_ids_file to say which records to read"
            raise SettingsError(message)
        full_table = self.replication_method == REPLICATION_FULL_TABLE
        # A full table neither uses nor changes the state.
        emitted = Emitted({} if full_table else self.stream_state, self.replication_key or "")
        emitted.keep_only(settings.record_ids)
        self._records_to_next_state = max(STATE_EVERY, len(emitted))
        emission = Emission(settings, RecordShape(self.schema), emitted)
        deletable = settings.on_missing_record == "tombstone"
        must_be_sure = frozenset(
            filter(emitted.__contains__, settings.record_ids if deletable else ())
        )
        with (
            metrics.http_request_counter(self.name, PATH) as counter,
            connect(
                settings,
                clock_speed=tap.clock_speed,
                redactor=tap.redactor,
                on_answer=partial(self._log_answer, counter),
            ) as connection,
            Progress(len(settings.record_ids), connection) as progress,
        ):

            def on_poll() -> None:
                tap.raise_if_terminated()
                progress.tick()
                # What is written so far is of use to the target while this run waits.
                sys.stdout.flush()

            for record_id, raw in read_by_id(
                connection.client,
                settings.record_ids,
                batch_size=settings.batch_size,
                threads=settings.max_concurrent_requests,
                must_be_sure=must_be_sure.__contains__,
                on_poll=on_poll,
            ):
                record = emission.choose(record_id, raw)
                if record is not None:
                    # A copy: the SDK drops deselected fields from what it is given.
                    yield dict(record)
                    emission.remember(record_id, record)
                    self._wrote_one(entries=len(emitted))
                progress.advance(emitted=record is not None)
                tap.raise_if_terminated()
        emission.finish()

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
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[dict[str, Any], Any, Any]:
        """Sync as the SDK does, and write STATE when that fails or is stopped, too.

        BATCH files are the exception: a record counts as written with its file, which the SDK
        follows with a STATE, so what was read since must not be covered by another one.
        """
        self._writes_records = write_messages
        try:
            yield from super()._sync_records(context, write_messages=write_messages)
        except GeneratorExit:
            raise
        except BaseException:
            if write_messages:
                # A reader that is gone can't take a STATE either.
                with suppress(OSError):
                    self._write_state_now()
            raise

    def _wrote_one(self, *, entries: int) -> None:
        """Write a STATE from time to time, the more rarely the longer it is."""
        self._records_to_next_state -= 1
        if self._records_to_next_state <= 0 and self._writes_records:
            self._records_to_next_state = max(STATE_EVERY, entries)
            self._write_state_now()

    def _write_state_now(self) -> None:
        self.state_manager.is_flushed = False
        self._write_state_message()
