"""Where a stream's records go: into RECORD messages, or into the files of BATCH messages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from singer_sdk import Stream
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib import RecordMessage

from tap_nexudus_usage.singer import map_numbers, maps
from tap_nexudus_usage.singer.batch_files import BatchFiles
from tap_nexudus_usage.singer.writer import BufferedWriter


class Output:
    """The one place where a record becomes what leaves the tap: selected, mapped, flattened."""

    def __init__(self, stream: Stream, writer: BufferedWriter) -> None:
        """Raises SettingsError where batches are configured and their files can't be written."""
        self._stream = stream
        self._writer = writer
        self._batches: BatchFiles | None = None
        if batch_config := stream.config.get("batch_config"):
            name = f"{stream.tap_name}--{stream.name}"
            self._batches = BatchFiles(batch_config, name, writer.write_message)

    @property
    def version(self) -> int | None:
        """The full table's, if any; BATCH messages carry none."""
        return None if self._batches is not None else self._stream._stream_version  # noqa: SLF001

    @property
    def files(self) -> int:
        """How many BATCH files have been written."""
        return 0 if self._batches is None else self._batches.written

    @property
    def is_between_files(self) -> bool:
        """Whether a STATE would cut no file short."""
        return self._batches is None or self._batches.is_empty

    def flush(self) -> None:
        """Have all records in messages, or in files told of; raises OutputError."""
        if self._batches is not None:
            self._batches.flush()

    @cached_property
    def takes_whole(self) -> bool:
        """Whether nothing selected, mapped or flattened makes a message differ from its record."""
        stream_map, *others = self._stream.stream_maps
        return (
            not others
            and type(stream_map) is SameRecordTransform
            and not stream_map.flattening_enabled
            and all(self._stream.mask["properties", name] for name in self._fields)
        )

    def write(self, record: dict[str, Any]) -> bool:
        """Write what becomes of a record; whether anything does.

        The SDK takes a long way to where nothing is to be done. Raises SettingsError, OutputError.
        """
        if self.takes_whole:
            return self._write_whole(record)
        # All of them before one is written: a map that fails must not leave another's behind.
        messages = self._messages(record)
        if self._batches is None:
            for message in messages:
                self._writer.write_message(message)
        else:
            self._batches.add((message.stream, message.record) for message in messages)
        return bool(messages)

    def _write_whole(self, record: Mapping[str, Any]) -> bool:
        stream = self._stream.stream_maps[0].stream_alias
        if self._batches is None:
            self._writer.write_record(stream, record, self.version)
        else:
            self._batches.add([(stream, record)])
        return True

    def _messages(self, record: dict[str, Any]) -> list[RecordMessage]:
        stream_maps = self._stream.config.get("stream_maps")
        if not stream_maps:
            return list(self._stream._generate_record_messages(record))  # noqa: SLF001
        # An expression may name any field of the schema, also one that the API left out.
        record, written = map_numbers.as_floats({**dict.fromkeys(self._fields), **record})
        try:
            messages = list(self._stream._generate_record_messages(record))  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - an expression may raise anything
            # Without the error itself, which may quote personal data.
            raise maps.explain(error, stream_maps, self._stream, record) from None
        for message in messages:
            map_numbers.restore(message.record, written)
        return messages

    @cached_property
    def _fields(self) -> tuple[str, ...]:
        return tuple(self._stream.schema["properties"])
