"""Decimals on their way through stream maps: floats for expressions, as written where none changes.

An expression fails on `Price * 1.2` where Price is a Decimal, and finds `Price == 12.1` false.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def as_floats(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[int, Decimal]]:
    """The record with floats for its decimals, and the decimals, by the identity of their float."""
    floats = {name: float(value) for name, value in record.items() if type(value) is Decimal}
    written = {id(number): record[name] for name, number in floats.items()}
    return {**record, **floats}, written


def restore(mapped: dict[str, Any], written: Mapping[int, Decimal]) -> None:
    """Put decimals back where what came through is the very float, under whatever name.

    The record with the floats must still be there, for else an identity may be another's.
    """
    for name, value in mapped.items():
        if id(value) in written:
            mapped[name] = written[id(value)]
