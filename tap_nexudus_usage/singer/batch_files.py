"""BATCH files, which hold what the RECORDs would be.

The SDK's hold the records as they were read: fields that are deselected, hashed or filtered out
are in them, whatever the configuration says. They are gzip whatever is asked for, too.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any
from uuid import uuid4

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from singer_sdk.contrib.msgspec import serialize_jsonl
from singer_sdk.helpers._batch import BatchConfig, SDKBatchMessage

from tap_nexudus_usage.errors import OutputError, SettingsError
from tap_nexudus_usage.settings.tidying import describe

_TEXT = {"type": ["string", "null"]}
_SHAPE = Draft202012Validator(
    {
        "type": "object",
        "required": ["encoding", "storage"],
        "additionalProperties": False,
        "properties": {
            "encoding": {
                "type": "object",
                "required": ["format"],
                "additionalProperties": False,
                "properties": {
                    # Parquet has a type for each column of a file, which the SDK guesses.
                    "format": {"enum": ["jsonl"]},
                    "compression": {"enum": ["gzip", "none"]},
                },
            },
            "storage": {
                "type": "object",
                "required": ["root"],
                "additionalProperties": False,
                "properties": {
                    "root": {"type": "string", "minLength": 1},
                    "prefix": _TEXT,
                    "params": {"type": "object"},
                },
            },
            "batch_size": {"type": ["integer", "null"], "minimum": 1},
        },
    }
)


def check(config: Any) -> None:
    """Raise SettingsError where the setting `batch_config` can't be followed."""
    error = best_match(_SHAPE.iter_errors(config))
    if error is None:
        return
    if error.validator in {"required", "additionalProperties"}:
        where = ".".join(["batch_config", *map(str, error.path)])
        # These two quote names only.
        message = f"Setting {where}: {error.message}"
        raise SettingsError(message)
    error.path.appendleft("batch_config")
    raise SettingsError(describe(error))


class BatchFiles:
    """Gathers records, for each stream that they go to, and writes a file of them at a time.

    A file appears when it is complete. Up to then its content is kept in memory, compressed if it
    is to be.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        name: str,
        write_message: Callable[[SDKBatchMessage], None],
    ) -> None:
        """`name` begins the files' names. Raises SettingsError where none can be written."""
        self._config = BatchConfig.from_dict(dict(config))
        self._name = f"{self._config.storage.prefix or ''}{name}-{uuid4()}"
        self._write_message = write_message
        self._files: dict[str, _File] = {}
        self.written = 0
        self._is_compressed = self._config.encoding.compression == "gzip"
        self._make_sure_of_storage()

    def add(self, records: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Take what becomes of one record, with the streams that each goes to.

        Raises OutputError where files are due and can't be written.
        """
        is_full = False
        for stream, record in records:
            file = self._files.get(stream)
            if file is None:
                file = self._files[stream] = _File(is_compressed=self._is_compressed)
            file.add(record)
            is_full |= file.records >= self._config.batch_size
        if is_full:
            self.flush()

    @property
    def is_empty(self) -> bool:
        """Whether all records are in files that a BATCH message has told of."""
        return not self._files

    def flush(self) -> None:
        """Write what there is, and tell of it; raises OutputError."""
        storage = self._config.storage
        while self._files:
            stream, file = next(iter(self._files.items()))
            self.written += 1
            end = ".json.gz" if self._is_compressed else ".json"
            name = f"{self._name}-{self.written}{end}"
            try:
                with storage.open(name, "wb") as target:
                    target.write(file.content())
            except Exception as error:
                message = (
                    f"A batch file can't be written: {error}. What a target has taken up to its "
                    "last STATE won't be emitted again"
                )
                raise OutputError(message) from error
            manifest = [storage.get_url(name)]
            self._write_message(
                SDKBatchMessage(stream=stream, encoding=self._config.encoding, manifest=manifest)
            )
            del self._files[stream]

    def _make_sure_of_storage(self) -> None:
        """Fail now rather than at the first file, where that can be known without leaving one."""
        storage = self._config.storage
        try:
            with storage._fs() as file_system:  # noqa: SLF001 - the SDK has nothing public for it
                if "file" in file_system.protocol:
                    with tempfile.TemporaryFile(dir=storage._root_path.path):  # noqa: SLF001
                        pass
        except Exception as error:
            message = f"Setting batch_config.storage can't be used: {error}"
            raise SettingsError(message) from error


class _File:
    """A file that is being written, in memory."""

    def __init__(self, *, is_compressed: bool) -> None:
        self.records = 0
        self._bytes = BytesIO()
        self._lines = (
            gzip.GzipFile(fileobj=self._bytes, mode="wb") if is_compressed else self._bytes
        )

    def add(self, record: Mapping[str, Any]) -> None:
        # The encoder of the RECORDs.
        self._lines.write(serialize_jsonl(record))
        self.records += 1

    def content(self) -> bytes:
        """What to write; nothing can be added any more."""
        if self._lines is not self._bytes:
            self._lines.close()
        return self._bytes.getvalue()
