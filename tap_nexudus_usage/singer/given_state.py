"""The state that a runner hands over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from tap_nexudus_usage.emission.emitted import STATE_KEYS
from tap_nexudus_usage.errors import SettingsError


def understood(state: dict[str, Any], streams: Iterable[str]) -> dict[str, Any]:
    """`state` without what other taps left in the bookmarks of `streams`; raises SettingsError.

    The SDK would look into that: partitions, progress markers and so on.
    """
    bookmarks = state.get("bookmarks", None if state else {})
    if not (
        _can_be_written(state)
        and isinstance(bookmarks, dict)
        and all(isinstance(bookmark, dict) for bookmark in bookmarks.values())
    ):
        message = "The state can't be understood; restore it, or start over without one"
        raise SettingsError(message)
    for stream in streams:
        bookmark = bookmarks.get(stream, {})
        for name in bookmark.keys() - STATE_KEYS:
            del bookmark[name]
    return state


def _can_be_written(state: Any) -> bool:
    """Whether a state can be passed on, as it is with the first message: it may be no Unicode."""
    try:
        msgspec.json.encode(state)
    except (UnicodeEncodeError, RecursionError):
        return False
    return True
