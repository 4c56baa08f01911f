"""From the bytes of an answer to what is in it, even where a part of it is no JSON."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any, TypeVar

import msgspec

from tap_nexudus_usage.nexudus.transport import UnusableAnswerError

T = TypeVar("T")


class NotJson:
    """Stands for a value that JSON or Unicode don't have; it breaks any schema."""

    def __init__(self, value: Any) -> None:
        """Keep what it looks like."""
        self._look = ascii(value)

    def __repr__(self) -> str:
        return self._look


def decode(body: bytes, kind: type[T]) -> T:
    """What `body` holds, as `kind`; raises UnusableAnswerError.

    NaN, half a surrogate pair and the like spoil their field only, not the records around it.
    A byte order mark may stand before it, which JSON doesn't allow and some proxies add.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError):
        # The lenient parser is tried only now: it is much slower.
        pass
    try:
        return msgspec.convert(_mended(json.loads(body, parse_int=_integer)), kind)
    except (ValueError, RecursionError) as error:
        message = "something else than the JSON expected"
        raise UnusableAnswerError(message) from error


def _integer(digits: str) -> int | float:
    """Infinity, which is no JSON, where Python refuses to make a number of so many digits."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def _mended(content: Any) -> Any:
    """`content` with NotJson in place of values that could not be written again."""
    if isinstance(content, list):
        return [_mended(item) for item in content]
    if isinstance(content, dict) and "Records" in content:
        return {**content, "Records": _mended(content["Records"])}
    if isinstance(content, dict):
        return {
            name: value if _is_sound(value) else NotJson(value) for name, value in content.items()
        }
    return content


def _is_sound(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True
