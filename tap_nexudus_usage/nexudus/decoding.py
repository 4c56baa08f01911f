"""From the bytes of an answer to what is in it, even where a part of it is no JSON."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from decimal import Decimal
from functools import cache
from math import isfinite
from typing import Any, TypeVar

import msgspec

from tap_nexudus_usage.nexudus.transport import UnusableAnswerError

T = TypeVar("T")

LONGEST = 16_000
"""Characters of a decimal; PostgreSQL takes 16,383 digits after the point."""

SMALLEST = -324
"""The power of ten that ends what a double can tell from zero."""

_DECIMAL = re.compile(r"Decimal\('([^']+)'\)")

# Not json's, which knows no Decimal, nor has a way to write one. The text is the same.
_encoder = msgspec.json.Encoder(decimal_format="number")


class NotJson:
    """Stands for a value that JSON or Unicode don't have; it breaks any schema."""

    def __init__(self, look: str) -> None:
        """Keep what it looks like."""
        self._look = look

    def __repr__(self) -> str:
        return self._look


def decode(body: bytes, kind: type[T]) -> T:
    """What `body` holds, as `kind`; raises UnusableAnswerError.

    NaN, half a surrogate pair and the like spoil their field only, not the records around it.
    Numbers with a point or an exponent are a Decimal each, with the digits that were written.
    A byte order mark may stand before it, which JSON doesn't allow and some proxies add.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        decoded: T = _decoder(kind).decode(body)  # type: ignore[arg-type] # any type is hashable
    except (ValueError, ArithmeticError, RecursionError):
        # The lenient parser is tried only now: it is much slower.
        pass
    else:
        return decoded
    try:
        content = json.loads(
            body, parse_int=_integer, parse_float=_decimal_or_not, parse_constant=_constant
        )
        return msgspec.convert(_mended(content), kind)
    except (ValueError, RecursionError) as error:
        message = "something else than the JSON expected"
        raise UnusableAnswerError(message) from error


def json_text(value: Any) -> str:
    """What was decoded, as JSON again, numbers as they were; raises TypeError, ValueError."""
    return _encoder.encode(value).decode()


def whole(value: Any) -> Any:
    """The integer where a decimal is one, as some writers of JSON make 10.0 of 10."""
    if type(value) is Decimal and value == value.to_integral_value():
        return int(value)
    return value


def look(value: Any) -> str:
    """How a value is shown to a user."""
    return _DECIMAL.sub(r"\1", repr(value))


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, float_hook=_decimal)


def _decimal(text: str) -> Decimal:
    """Raises ValueError, or ArithmeticError, where no double comes near.

    Most warehouses have it as a double, and make infinity, null or zero of another, or fail.
    """
    double, value = float(text), Decimal(text)
    if isfinite(double) and (double or value.adjusted() > SMALLEST) and len(text) <= LONGEST:
        return value
    raise ValueError


def _decimal_or_not(text: str) -> Decimal | NotJson:
    try:
        return _decimal(text)
    except (ValueError, ArithmeticError):
        return NotJson(f"{text:.30}, beyond 64 bits")


def _integer(digits: str) -> int | NotJson:
    """No number where Python refuses to make one of so many digits."""
    try:
        return int(digits)
    except ValueError:
        return NotJson(f"{digits:.30}, beyond 64 bits")


def _constant(name: str) -> NotJson:
    """NaN or an infinity, which Python's parser takes for JSON."""
    return NotJson(name)


def _mended(content: Any) -> Any:
    """`content` with NotJson in place of values that could not be written again."""
    if isinstance(content, list):
        return [_mended(item) for item in content]
    if isinstance(content, dict) and "Records" in content:
        return {**content, "Records": _mended(content["Records"])}
    if isinstance(content, dict):
        return {
            name: value if _is_sound(value) else NotJson(_DECIMAL.sub(r"\1", ascii(value)))
            for name, value in content.items()
        }
    return content


def _is_sound(value: Any) -> bool:
    try:
        json_text(value)
    except (TypeError, ValueError):
        return False
    return True
