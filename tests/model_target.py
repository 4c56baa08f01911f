"""A target as careful as it has to be, and no more: it keeps what lies before a STATE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from outcomes import STREAM

from tap_nexudus_usage.emission.packed import unpack

Record = dict[str, Any]


class ModelTarget:
    """A stream's rows by Id and the last STATE, as they survive whatever ends a run.

    What it takes it also judges: no STATE may cover what came after it, and nothing may come twice.
    """

    def __init__(self, stream: str = STREAM) -> None:
        self.rows: dict[int, Record] = {}
        self.bookmark: dict[str, Any] = {}
        self._stream = stream
        self._held: set[tuple[int, str | None]] = set()

    def take(self, messages: Iterable[dict[str, Any]], *, may_repeat: bool = False) -> list[Record]:
        """Take a run's messages, RECORDs and STATEs; the records of the stream."""
        records, waiting = [], []
        for message in messages:
            if message["type"] == "RECORD" and message["stream"] == self._stream:
                waiting.append(message["record"])
            elif message["type"] == "STATE" and self._stream in message["states"]:
                self._commit(waiting, may_repeat=may_repeat)
                records += waiting
                waiting = []
                self.bookmark = message["states"][self._stream]
                self._check_state()
        return [*records, *waiting]

    @property
    def emitted(self) -> Mapping[str, str | None]:
        return unpack(self.bookmark.get("emitted", {}))

    def holds(self, record: Record) -> bool:
        """Whether its row is as it should be."""
        return self.rows.get(record["Id"]) == record

    def has_deleted(self, record_id: int) -> bool:
        """Whether it knows that the record is gone, or never knew that it was there."""
        row = self.rows.get(record_id)
        return row is None or row["_sdc_deleted_at"] is not None

    def state_brings(self, record: Record, lookback: timedelta | None) -> bool:
        """Whether the next run, going by the state as documented, will emit the record.

        `lookback` None: by Id.
        """
        record_id, stamp = str(record["Id"]), record["UpdatedOn"]
        if record_id in self.emitted and self.emitted[record_id] == stamp:
            return False
        newest = self.bookmark.get("replication_key_value")
        if lookback is None or newest is None or self.bookmark["read_by"] == "id":
            return True
        since = datetime.fromisoformat(newest[:16]) - lookback
        return datetime.fromisoformat(stamp[:16]) >= since

    def _commit(self, records: list[Record], *, may_repeat: bool) -> None:
        for record in records:
            version = (record["Id"], record.get("UpdatedOn"))
            if record["_sdc_deleted_at"] is None:
                assert may_repeat or version not in self._held, f"emitted again: {version}"
                self._held.add(version)
            else:
                # Should it come back, it has to be emitted whatever its stamp.
                self._held = {held for held in self._held if held[0] != record["Id"]}
            self.rows[record["Id"]] = record

    def _check_state(self) -> None:
        for record_id, stamp in self.emitted.items():
            row = self.rows[int(record_id)]
            assert row["UpdatedOn"] == stamp, f"STATE ahead of Id {record_id}"
            assert row["_sdc_deleted_at"] is None, f"STATE behind the end of Id {record_id}"
