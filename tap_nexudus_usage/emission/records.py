"""From what the API sends to what leaves the tap: checked against the schema, canonical."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import cache
from math import isfinite
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.errors import InvalidRecordError
from tap_nexudus_usage.nexudus.decoding import json_text, look, whole

logger = logging.getLogger(__name__)

DELETED_AT = "_sdc_deleted_at"

_PYTHON_TYPES = {
    "string": str,
    "integer": int,
    "number": Decimal,
    "boolean": bool,
    "null": type(None),
}

_JSON_TYPES = {
    **{python: name for name, python in _PYTHON_TYPES.items()},
    list: "array",
    dict: "object",
}

Field = tuple[frozenset[type], Callable[[Any], Any] | None]
"""The Python types that a field's good values have, and what makes a value that isn't null
canonical."""


@cache
def _validator_class() -> type[Validator]:
    """jsonschema's, to which a Decimal is a number already, but never an integer.

    Making it takes a tenth of the time in which the tap starts; most runs need no judge.
    """
    integer = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: type(whole(value)) is int
    )
    made: type[Validator] = extend(Draft202012Validator, type_checker=integer)  # type: ignore[no-untyped-call]
    return made


class RecordShape:
    """Checks and canonicalises records by the stream's JSON schema.

    jsonschema is the judge and words the errors, but too slow to see every record; a comparison of
    types, made from the same schema, lets the good ones pass.
    """

    def __init__(self, schema: Mapping[str, Any], json_text_fields: Collection[str]) -> None:
        """`schema` has one type, or one and null, for each property.

        `json_text_fields` may hold any JSON.
        """
        self._json_text_fields = json_text_fields
        properties = schema["properties"]
        self._fields: dict[str, Field] = {
            name: _field(definition, is_json=name in json_text_fields)
            for name, definition in properties.items()
        }
        self._blank: dict[str, Any] = dict.fromkeys(properties)
        self._schema = schema
        self._unknown: set[str] = set()

    def version(self, raw: Mapping[str, Any]) -> tuple[int, str | None] | None:
        """The Id and the canonical `UpdatedOn` of one of the API's records, unchecked otherwise.

        None where these break the schema: `conform` tells how.
        """
        try:
            record_id, stamp = _integer(raw["Id"]), raw.get("UpdatedOn")
            return record_id, None if stamp is None else _date_time_or_nothing(stamp)
        except (KeyError, TypeError, ValueError):
            return None

    def conform(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A new record, canonical and without unknown fields, from one of the API's.

        Raises InvalidRecordError, which names Id, field, expected and got.
        """
        record: dict[str, Any] = {}
        for name, value in raw.items():
            field = self._fields.get(name)
            if field is None:
                self._report_unknown(name)
                continue
            types, to_canonical = field
            if value is None or to_canonical is None:
                if type(value) not in types:
                    self._judge(raw)
                record[name] = value
                continue
            try:
                record[name] = to_canonical(value)
            except (TypeError, ValueError):
                self._judge(raw)
                raise _invalid(raw, name, _WANTED[to_canonical], value) from None
        if "Id" not in record:
            self._judge(raw)
        record[DELETED_AT] = None
        return record

    def tombstone(self, record_id: int) -> dict[str, Any]:
        """The record that tells a target that `record_id` is gone."""
        return {**self._blank, "Id": record_id, DELETED_AT: timestamps.now()}

    def _judge(self, raw: Mapping[str, Any]) -> None:
        """Raise what jsonschema has against the record, if it has anything."""
        checked = {
            name: value
            for name, value in raw.items()
            if name in self._fields and name not in self._json_text_fields
        }
        error = best_match(_validator_class()(self._schema).iter_errors(checked))
        if error is not None:
            name = str(error.path[0]) if error.path else "Id"
            raise _invalid(raw, name, _expected(error), checked.get(name))

    def _report_unknown(self, name: str) -> None:
        if name not in self._unknown:
            self._unknown.add(name)
            logger.warning(
                "The API sends a field unknown to the schema; it is dropped: %.100r", name
            )


def _field(definition: Mapping[str, Any], *, is_json: bool) -> Field:
    declared = definition["type"]
    names = [declared] if isinstance(declared, str) else declared
    types = frozenset(_PYTHON_TYPES[type_name] for type_name in names)
    if is_json:
        return types, json_text
    if definition.get("format") == "date-time":
        return types, _date_time_or_nothing if type(None) in types else timestamps.canonical
    if int in types:
        return types, _integer
    if Decimal in types:
        return types, _number
    return types, None


def _date_time_or_nothing(value: str) -> str | None:
    """Empty text says that there is none: Nexudus's lists may leave fields empty."""
    try:
        return timestamps.canonical(value)
    except ValueError:
        if value.strip():
            raise
        return None


def _integer(value: Any) -> int:
    """`value`, if it is an integer that warehouses and targets have a type for; 60.0 is 60."""
    integer = whole(value)
    if type(integer) is int and -(2**63) <= integer < 2**63:
        return integer
    raise ValueError


def _number(value: Any) -> int | Decimal:
    """`value`, if it is a number that warehouses and targets have a type for.

    Digits, exponent and zeros at the end stay as they are: all common targets take them. What they
    don't is bare digits beyond 64 bits: target-bigquery then loses a whole batch without a word.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError
    if -(2**63) <= value < 2**63:
        return value
    text = str(value)
    if not isfinite(float(text)):
        raise ValueError
    return Decimal(f"{text}.0") if text.lstrip("-").isdigit() else value


_WANTED: Mapping[Callable[[Any], Any], str] = {
    timestamps.canonical: "a date-time",
    _date_time_or_nothing: "a date-time",
    _integer: "an integer of 64 bits",
    _number: "a number of 64 bits",
    json_text: "JSON",
}
"""What a value should have been that could not be made canonical."""


def _expected(error: ValidationError) -> str:
    declared: Any = error.validator_value if error.validator == "type" else "integer"
    return " or ".join([declared] if isinstance(declared, str) else declared)


def _invalid(raw: Mapping[str, Any], name: str, expected: str, got: Any) -> InvalidRecordError:
    message = (
        f"Record Id {look(raw.get('Id')):.30} breaks the schema: {name} should be {expected}, "
        f"but is {look(got):.60}. Report it, please; on_invalid_record: warn skips such records"
    )
    kind = _JSON_TYPES.get(type(got), "no JSON")
    return InvalidRecordError(message, field=name, expected=expected, got=kind)
