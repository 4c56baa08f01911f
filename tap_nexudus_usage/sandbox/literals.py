"""JSON whose decimals are sent in the spelling they were given: `12.10`, `1e3`."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from typing_extensions import Self, override


class Number(Decimal):
    """A decimal that keeps its spelling."""

    __slots__ = ("_literal",)
    _literal: str

    def __new__(cls, literal: str) -> Self:
        """The number that `literal` spells in JSON."""
        number = super().__new__(cls, literal)
        number._literal = literal
        return number

    @override
    def __str__(self) -> str:
        return self._literal


def _spell(number: Number) -> msgspec.Raw:
    return msgspec.Raw(str(number).encode())


encode = msgspec.json.Encoder(enc_hook=_spell).encode
"""JSON of anything with a `Number` in it."""

decode = msgspec.json.Decoder(float_hook=Number).decode
"""What JSON says, with a `Number` for each that isn't written as a whole one."""
