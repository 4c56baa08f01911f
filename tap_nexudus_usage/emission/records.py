"""From what the API sends to what leaves the tap: checked against the schema, canonical."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.errors import InvalidRecordError

logger = logging.getLogger(__name__)

DELETED_AT = "_sdc_deleted_at"

_PYTHON_TYPES = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}

_JSON_TYPES = {
    **{python: name for name, python in _PYTHON_TYPES.items()},
    float: "number",
    list: "array",
    dict: "object",
}

Field = tuple[frozenset[type], Callable[[Any], Any] | None]
"""The Python types that a field's good values have, and what makes a value that isn't null
canonical."""


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
        self._validator = Draft202012Validator(schema)
        self._unknown: set[str] = set()

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
        error = best_match(self._validator.iter_errors(checked))
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
        return types, _json_text
    if definition.get("format") == "date-time":
        return types, _date_time_or_nothing if type(None) in types else timestamps.canonical
    if int in types:
        return types, _integer
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
    whole = int(value) if type(value) is float and value.is_integer() else value
    if type(whole) is int and -(2**63) <= whole < 2**63:
        return whole
    raise ValueError


_json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


_WANTED: Mapping[Callable[[Any], Any], str] = {
    timestamps.canonical: "a date-time",
    _date_time_or_nothing: "a date-time",
    _integer: "an integer of 64 bits",
    _json_text: "JSON",
}
"""What a value should have been that could not be made canonical."""


def _expected(error: ValidationError) -> str:
    declared: Any = error.validator_value if error.validator == "type" else "integer"
    return " or ".join([declared] if isinstance(declared, str) else declared)


def _invalid(raw: Mapping[str, Any], name: str, expected: str, got: Any) -> InvalidRecordError:
    message = (
        f"Record Id {raw.get('Id')!r:.30} breaks the schema: {name} should be {expected}, "
        f"but is {got!r:.60}. Report it, please; on_invalid_record: warn skips such records"
    )
    kind = _JSON_TYPES.get(type(got), "no JSON")
    return InvalidRecordError(message, field=name, expected=expected, got=kind)
