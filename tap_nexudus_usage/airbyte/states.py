"""The states that Airbyte hands over: lists of messages, in the shapes that its clients write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tap_nexudus_usage.emission.emitted import STATE_KEYS
from tap_nexudus_usage.errors import SettingsError

CURSOR, UNFINISHED = "cursor", "full_refresh"
"""Besides those of a Singer bookmark: the greatest cursor, and the mark of an unfinished refresh.

A state may be handed over to a new full refresh, which has to begin anew, as well as to one that
was interrupted.
"""

KEYS = STATE_KEYS | {CURSOR, UNFINISHED}

Json = Mapping[str, Any]


def understood(given: Any) -> dict[str, dict[str, Any]]:
    """The state of each stream; raises SettingsError where it can't be understood.

    Taken are none at all, a list of messages, a single one, and a Singer state.
    """
    try:
        return {name: _checked(state or {}) for name, state in _pairs(given)}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        message = "The state can't be understood; restore it, or start over without one"
        raise SettingsError(message) from error


def _checked(state: Json) -> dict[str, Any]:
    """What is ours of a stream's state; `Emitted` looks at the bookmark itself."""
    ours = {key: value for key, value in state.items() if key in KEYS}
    cursor, emitted = ours.get(CURSOR), ours.get("emitted")
    is_cursor = cursor is None or (type(cursor) is int and cursor >= 0)
    if is_cursor and (emitted is None or isinstance(emitted, dict)):
        return ours
    message = "no state of ours"
    raise ValueError(message)


def _pairs(given: Any) -> Iterator[tuple[str, Json | None]]:
    if isinstance(given, list):
        for message in given:
            yield from _pairs(message)
    elif given is None or given == {}:
        return
    elif "bookmarks" in given:
        yield from given["bookmarks"].items()
    elif "state" in given:
        yield from _pairs(given["state"])
    elif (of_all := given.get("global") or given.get("global_")) is not None:
        for stream in of_all.get("stream_states") or ():
            yield stream["stream_descriptor"]["name"], stream.get("stream_state")
    elif (stream := given.get("stream")) is not None:
        yield stream["stream_descriptor"]["name"], stream.get("stream_state")
    elif "data" in given:
        yield from _pairs(given["data"])
    else:
        message = "no state"
        raise ValueError(message)
