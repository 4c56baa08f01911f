"""What was emitted, kept in the stream's Singer state so that re-reading it is silent."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.errors import SettingsError

_NEVER = object()


class Emitted:
    """The `UpdatedOn` last emitted for each Id, and the newest of all: the bookmark.

    Lives inside the state dict that the SDK writes as STATE, so that both can't disagree.
    """

    def __init__(self, state: MutableMapping[str, Any], replication_key: str) -> None:
        """`state` is the stream's bookmark; states of other shapes are accepted and cleaned.

        Raises SettingsError where it can't be understood: going on would lose track of what the
        target already has.
        """
        emitted = state.get("emitted")
        bookmark = state.get("replication_key_value")
        if not isinstance(emitted, dict | None) or not isinstance(bookmark, str | None):
            message = "The state can't be understood; restore it, or start over without one"
            raise SettingsError(message)
        self._emitted: dict[str, str | None] = emitted or {}
        state.clear()
        state["replication_key"] = replication_key
        if bookmark is not None:
            state["replication_key_value"] = _canonical(bookmark)
        state["emitted"] = self._emitted
        self._state = state

    def __len__(self) -> int:
        """How many Ids are remembered."""
        return len(self._emitted)

    def __contains__(self, record_id: int) -> bool:
        """Whether this Id was ever emitted."""
        return str(record_id) in self._emitted

    def keep_only(self, record_ids: Iterable[int]) -> None:
        """Begin a read by Id: forget the Ids that are no longer configured."""
        self._state["read_by"] = "id"
        configured = {str(record_id) for record_id in record_ids}
        for record_id in self._emitted.keys() - configured:
            del self._emitted[record_id]

    def differs(self, record_id: int, updated_on: str | None) -> bool:
        """Whether this version of the record has not been the last one emitted."""
        return self._emitted.get(str(record_id), _NEVER) != updated_on

    def add(self, record_id: int, updated_on: str | None) -> None:
        """Remember a record that was just written."""
        self._emitted[str(record_id)] = updated_on
        newest = self._state.get("replication_key_value")
        if updated_on is not None and (newest is None or updated_on > newest):
            self._state["replication_key_value"] = updated_on

    def forget(self, record_id: int) -> None:
        """Forget an Id whose tombstone was just written."""
        self._emitted.pop(str(record_id), None)


def _canonical(bookmark: str) -> str:
    try:
        return timestamps.canonical(bookmark)
    except ValueError:
        message = "The state's replication_key_value is no date-time; restore it, or start over"
        raise SettingsError(message) from None
