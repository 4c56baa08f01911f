"""What was emitted, kept in the state so that re-reading it is silent."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from datetime import timedelta
from typing import Any

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.emission import packed
from tap_nexudus_usage.errors import SettingsError

STATE_KEYS = frozenset({"replication_key", "replication_key_value", "read_by", "emitted"})
"""What the stream's bookmark consists of."""

_NEVER = object()

MINUTE = timedelta(minutes=1)

PRUNE_EVERY = 10_000
"""Entries that may gather, by search, before those outside the window are dropped."""


class Emitted:
    """The `UpdatedOn` last emitted for each Id, and the newest of all: the bookmark.

    `save` puts all of it into the dict that is written as STATE, at once, so that the two can't
    disagree. One of the `begin` methods has to be called before a read.

    Attributes:
        remembers_all: whether nothing was dropped yet that a search from where this one began would
            come across.
    """

    def __init__(self, state: MutableMapping[str, Any], replication_key: str) -> None:
        """`state` is the stream's bookmark; other shapes are accepted, and `save` cleans them.

        Raises SettingsError where it can't be understood: going on would lose track of what the
        target already has.
        """
        try:
            self._newest = _canonical(state.get("replication_key_value"))
            kept = state.get("emitted") or {}
            stamps = packed.unpack(kept).items()
            self._emitted = {record_id: _canonical(stamp) for record_id, stamp in stamps}
        except (AttributeError, TypeError, ValueError):
            message = "The state can't be understood; restore it, or start over without one"
            raise SettingsError(message) from None
        self._forgotten = packed.replaced_by_text(kept)
        self._state = state
        self._replication_key = replication_key
        # What ends before a read begins leaves it as true as it was.
        read_by = state.get("read_by")
        self._read_by = read_by if read_by in ("id", "search") else None
        self._follows_text = packed.holds_text(kept)
        self._kept: packed.Plain | None = None
        self._lookback: timedelta | None = None
        self.remembers_all = True
        self._began = timestamps.now()
        self._bookmark_at_start: str | None = None
        self._held_at: str | None = None
        self._prune_at = PRUNE_EVERY

    def begin_by_id(self, record_ids: Iterable[int] | None) -> None:
        """Begin a read by Id: forget all Ids but these; None: which are asked for isn't known."""
        self._read_by = "id"
        if record_ids is None:
            return
        configured = {str(record_id) for record_id in record_ids}
        for record_id in self._emitted.keys() - configured:
            del self._emitted[record_id]
        self._kept = None

    def begin_by_search(self, lookback: timedelta) -> str | None:
        """Begin a search: the canonical date-time to search from, None for the beginning.

        The bookmark that reading by Id leaves covers the Ids of that time only, so the search
        begins anew, dropping what was emitted.
        """
        self._lookback = lookback
        if self._read_by == "id":
            self._newest = None
        elif self._newest is not None and self._newest > self._began:
            # As earlier versions kept it. What came before it was remembered with it.
            stamps = filter(None, self._emitted.values())
            past = (stamp for stamp in stamps if stamp <= self._began)
            self._newest = max(past, default=self._began)
        self._read_by = "search"
        self._bookmark_at_start = self._newest
        return self._horizon()

    def rewind(self) -> None:
        """Put the bookmark back to where the search began: it can't vouch for what is before it."""
        self._newest = self._bookmark_at_start

    @property
    def newest(self) -> str | None:
        """The bookmark."""
        return self._newest

    def __len__(self) -> int:
        """How many Ids are remembered."""
        return len(self._emitted)

    def __contains__(self, record_id: int) -> bool:
        """Whether this Id was emitted, as far as is remembered."""
        return str(record_id) in self._emitted

    def differs(self, record_id: int, updated_on: str | None) -> bool:
        """Whether this version of the record has not been the last one emitted."""
        return self._emitted.get(str(record_id), _NEVER) != updated_on

    def add(self, record_id: int, updated_on: str | None) -> None:
        """Remember a record that was just written."""
        self._emitted[str(record_id)] = updated_on
        self._forgotten.discard(str(record_id))
        self._kept = None
        self.advance(updated_on)
        if len(self._emitted) >= self._prune_at:
            self._prune()

    def hold(self, updated_on: str | None) -> None:
        """Keep the bookmark where a later search will find a version that is left for it."""
        stamps = (self._held_at, updated_on)
        self._held_at = min((stamp for stamp in stamps if stamp is not None), default=None)
        if self._newest is not None and self._held_at is not None:
            self._newest = min(self._newest, self._held_at)

    def advance(self, updated_on: str | None) -> None:
        """Take the bookmark on to a record that the target has.

        Not beyond the beginning of the run: what was stamped since may have been read already as it
        was before, and a stamp in the future would hide what is stamped rightly until the next run.
        """
        if updated_on is not None and self._held_at is not None:
            updated_on = min(updated_on, self._held_at)
        if updated_on is None or (self._newest is not None and updated_on <= self._newest):
            return
        if updated_on <= self._began:
            self._newest = updated_on

    def forget(self, record_id: int) -> None:
        """Forget an Id whose tombstone was just written."""
        self._emitted.pop(str(record_id), None)
        self._forgotten.add(str(record_id))
        self._kept = None

    def save(self) -> None:
        """Put all into the state, but what no later run needs."""
        self._prune()
        if self._kept is None:
            self._kept = packed.pack(
                self._emitted, follows_text=self._follows_text, forgotten=self._forgotten
            )
            self._follows_text |= packed.holds_text(self._kept)
        bookmark = {
            "replication_key": self._replication_key,
            "replication_key_value": self._newest,
            "emitted": self._kept,
            "read_by": self._read_by,
        }
        # What was there becomes null: where a runner merges the state of a run that failed into the
        # one before, that one's bookmark would stay, and hide all that is older.
        before = set(self._state)
        self._state.clear()
        self._state.update(
            (key, kept) for key, kept in bookmark.items() if kept is not None or key in before
        )

    def _prune(self) -> None:
        """By search, drop what no later search will come across."""
        horizon = self._horizon()
        if self._lookback is not None and horizon is not None:
            within: packed.Plain = {
                record_id: updated_on
                for record_id, updated_on in self._emitted.items()
                if updated_on is not None and updated_on >= horizon
            }
            if len(within) != len(self._emitted):
                self._emitted, self._kept = within, None
                self.remembers_all = False
        self._prune_at = 2 * len(self._emitted) + PRUNE_EVERY

    def _horizon(self) -> str | None:
        """From when on a search reads again: the lookback before the bookmark, a whole minute.

        And one more, as the bounds of a minute hold the first moment of the next: what is read with
        that may come again.
        """
        if self._newest is None or self._lookback is None:
            return None
        return timestamps.minutes_before(self._newest, self._lookback + MINUTE)


def _canonical(stamp: str | None) -> str | None:
    return None if stamp is None else timestamps.canonical(stamp)
