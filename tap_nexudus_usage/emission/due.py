"""What is emitted of what was read: each version of a record once, tombstones, nothing invalid."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tap_nexudus_usage.emission.emitted import Emitted
from tap_nexudus_usage.emission.records import DELETED_AT, RecordShape
from tap_nexudus_usage.errors import (
    InvalidRecordError,
    MissingRecordsError,
    TapError,
    UnansweredError,
)
from tap_nexudus_usage.id_set import IdSet
from tap_nexudus_usage.nexudus.pages import Record

logger = logging.getLogger(__name__)

IDS_PER_LINE = 100
"""Ids named in one line of the log."""


@dataclass(frozen=True)
class Rules:
    """What the settings of these names say of records that could be emitted.

    Attributes:
        one_version: in a run, no second version of a record is emitted, but left for the next run.
    """

    on_missing_record: str
    on_invalid_record: str
    start_date: str | None
    one_version: bool = False


class Emission:
    """Decides on one record after the other, in a single run."""

    def __init__(self, rules: Rules, shape: RecordShape, emitted: Emitted, entity: str) -> None:
        """`emitted` is what the target already has; `entity` the name of what is emitted."""
        self._rules = rules
        self._shape = shape
        self._emitted = emitted
        self._entity = entity
        self._missing: list[int] = []
        self._unanswered: dict[int, TapError] = {}
        self._invalid = 0
        self._written = IdSet()

    def choose(self, raw: Record, *, must_be_valid: bool = False) -> dict[str, Any] | None:
        """The record to emit for one that was read, if any.

        What isn't emitted isn't checked, unless it `must_be_valid` all the same. Raises
        InvalidRecordError with `on_invalid_record: fail`.
        """
        version = self._shape.version(raw)
        is_due = version is None or self._is_due(*version)
        if not is_due and not must_be_valid:
            return None
        try:
            record = self._shape.conform(raw)
        except InvalidRecordError as error:
            if self._rules.on_invalid_record == "fail":
                raise
            self._invalid += 1
            logger.warning("Skipped: %s", error)
            return None
        return record if is_due else None

    def choose_missing(self, record_id: int) -> dict[str, Any] | None:
        """The tombstone to emit for an Id that doesn't exist, if any."""
        if self._rules.on_missing_record == "tombstone" and record_id in self._emitted:
            logger.info("%s Id %d is gone: a tombstone is emitted", self._entity, record_id)
            return self._shape.tombstone(record_id)
        self._missing.append(record_id)
        return None

    def leave_out(self, record_id: int, error: TapError) -> None:
        """Go on without an Id that could not be read; `finish` will say so."""
        logger.warning("Left out for now, %s Id %d: %s", self._entity, record_id, error)
        self._unanswered[record_id] = error

    def settle(self, record: dict[str, Any], *, was_written: bool) -> None:
        """Take note of what became of `record`, chosen before.

        One that a filter of the user's has dropped doesn't count as emitted: by Id it comes as soon
        as the filter lets it; a search doesn't go back for it.
        """
        is_tombstone = record[DELETED_AT] is not None
        if was_written and is_tombstone:
            self._emitted.forget(record["Id"])
        elif was_written:
            self._emitted.add(record["Id"], record.get("UpdatedOn"))
            if self._rules.one_version:
                self._written.add([record["Id"]])
        elif not is_tombstone:
            self._emitted.advance(record.get("UpdatedOn"))

    @property
    def has_read_all(self) -> bool:
        """Whether all that there was could be read and understood."""
        return not (self._invalid or self._unanswered)

    @property
    def left_something_out(self) -> bool:
        """Whether the target lacks records that exist, because the settings say so."""
        return not self.has_read_all or self._rules.start_date is not None

    def finish(self) -> None:
        """Say what the reader of the target's table would miss.

        Raises UnansweredError where Ids could not be read, MissingRecordsError with
        `on_missing_record: fail`.
        """
        if self._invalid:
            logger.warning("%d records skipped: they break the schema", self._invalid)
        if self._unanswered:
            self._warn_of_missing()
            message = (
                f"The API fails for {len(self._unanswered)} {self._entity} Ids: "
                f"{_named(self._unanswered)}. All others were emitted. Try again later; if it "
                "stays, remove those configured and tell Nexudus. The last answer: "
                f"{list(self._unanswered.values())[-1]}"
            )
            raise UnansweredError(message)
        if self._missing and self._rules.on_missing_record == "fail":
            message = (
                f"{len(self._missing)} {self._entity} Ids don't exist in Nexudus, or this user may "
                f"not see them: {_named(self._missing)}. All others were emitted. Remove those "
                "configured, or set on_missing_record to warn or tombstone"
            )
            raise MissingRecordsError(message)
        self._warn_of_missing()

    def _warn_of_missing(self) -> None:
        for start in range(0, len(self._missing), IDS_PER_LINE):
            logger.warning(
                "Not in Nexudus, or not visible to this user: %s Ids %s",
                self._entity,
                ", ".join(map(str, self._missing[start : start + IDS_PER_LINE])),
            )

    def _is_due(self, record_id: int, updated_on: str | None) -> bool:
        start_date = self._rules.start_date
        if start_date is not None and updated_on is not None and updated_on < start_date:
            return False
        if self._emitted.differs(record_id, updated_on):
            if record_id not in self._written:
                return True
            self._emitted.hold(updated_on)
            return False
        self._emitted.advance(updated_on)
        return False


def _named(record_ids: Collection[int]) -> str:
    more = len(record_ids) - IDS_PER_LINE
    named = ", ".join(map(str, islice(record_ids, IDS_PER_LINE)))
    return f"{named} and {more} more" if more > 0 else named
