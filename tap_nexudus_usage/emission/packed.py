"""The form in which the state keeps what was emitted: by Id, or packed where there is much.

A bulk change may leave hundreds of thousands of entries, in plain JSON more than runners take. They
become `{"zlib1": "<entries>:<base64>"}`. What the text holds, compressed, are two tables of fixed
width, column by column: the distances between the Ids in their order, eight bytes each, and the
date-times.

Meltano merges the state of a run that failed into the one before, object by object: what has been
an object has to stay one, and what isn't said again stays. So a text may find itself beside entries
by Id that are older than it, and entries by Id beside a text that is older than them, unless they
put null in its place; and an Id whose tombstone was written, or that is only among the entries that
a text has replaced, would come back, unless that is marked.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from itertools import accumulate, islice
from operator import sub
from typing import Any

MOST_PLAIN = 10_000
"""Entries that are kept as an object."""

TEXT = "zlib1"
"""What is in the place of an Id."""

FORGOTTEN = ""
"""What is in the place of the date-time of an Id that was forgotten."""

_COUNTED = re.compile(r"(\d{1,9}):(.*)", re.ASCII | re.DOTALL)
_ID = 8
_STAMP = len("2025-01-15T10:30:00.500000Z")
_NO_STAMP = " " * _STAMP

Plain = dict[str, str | None]
"""By Id the canonical date-time, if any."""


def pack(emitted: Plain, *, follows_text: bool, forgotten: Iterable[str] = ()) -> Plain:
    """What to keep in the state, exactly, where the one before may hold a text, or more Ids."""
    text = _packed(emitted) if len(emitted) > MOST_PLAIN else None
    if text is not None:
        return {TEXT: text}
    plain = {**dict.fromkeys(forgotten, FORGOTTEN), **emitted}
    return {**plain, TEXT: None} if follows_text else plain


def holds_text(kept: Mapping[str, Any]) -> bool:
    """Whether it is packed."""
    return kept.get(TEXT) is not None


def replaced_by_text(kept: Mapping[str, Any]) -> set[str]:
    """The Ids beside a text, which a runner has kept though they no longer count."""
    return {*kept} - {TEXT} if holds_text(kept) else set()


def unpack(kept: Mapping[str, Any]) -> Plain:
    """What `pack` was given; raises ValueError or TypeError for a text that isn't whole."""
    if holds_text(kept):
        return _unpacked(kept[TEXT])
    return {
        record_id: stamp
        for record_id, stamp in kept.items()
        if record_id != TEXT and stamp != FORGOTTEN
    }


def count_entries(kept: Any) -> int:
    """How many entries a state keeps; another tap's may keep anything."""
    if not isinstance(kept, Mapping):
        return 0
    match = _COUNTED.fullmatch(str(kept.get(TEXT)))
    return len(kept) if match is None else int(match[1])


def _packed(emitted: Plain) -> str | None:
    """The text; None where there are Ids that the API doesn't have, which is no reason to lose."""
    try:
        keys = sorted(emitted, key=int)
        ids = list(map(int, keys))
        distances = map(sub, ids, (0, *islice(ids, len(ids) - 1)))
        of_ids = struct.pack(f"<{len(ids)}Q", *distances)
    except (ValueError, struct.error):
        return None
    if list(map(str, ids)) != keys:
        return None
    of_stamps = "".join([emitted[key] or _NO_STAMP for key in keys]).encode("ascii")
    # Of digits at random only how often each occurs can be made use of: a search for repetitions
    # takes longer and finds none. Of columns that hardly change, the runs are what counts.
    compressor = zlib.compressobj(strategy=zlib.Z_RLE)
    parts = (*_columns(of_ids, _ID), *_columns(of_stamps, _STAMP))
    compressed = b"".join([*map(compressor.compress, parts), compressor.flush()])
    return f"{len(ids)}:{base64.b64encode(compressed).decode('ascii')}"


def _unpacked(text: str) -> Plain:
    match = _COUNTED.fullmatch(text)
    if match is None:
        message = "no text of ours"
        raise ValueError(message)
    count = int(match[1])
    try:
        columns = zlib.decompress(base64.b64decode(match[2], validate=True))
    except zlib.error as error:
        raise ValueError(*error.args) from error
    if len(columns) != count * (_ID + _STAMP):
        message = "not so many entries"
        raise ValueError(message)
    of_ids = _rows(columns[: count * _ID], _ID)
    of_stamps = _rows(columns[count * _ID :], _STAMP).decode("ascii")
    stamps = (of_stamps[at : at + _STAMP] for at in range(0, len(of_stamps), _STAMP))
    ids = accumulate(struct.unpack(f"<{count}Q", of_ids))
    return {
        str(record_id): None if stamp == _NO_STAMP else stamp
        for record_id, stamp in zip(ids, stamps, strict=True)
    }


def _columns(rows: bytes, width: int) -> list[bytes]:
    return [rows[column::width] for column in range(width)]


def _rows(columns: bytes, width: int) -> bytes:
    height = len(columns) // width
    rows = bytearray(len(columns))
    for column in range(width):
        rows[column::width] = columns[column * height : (column + 1) * height]
    return bytes(rows)
