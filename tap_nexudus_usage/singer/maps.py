"""Stream maps: checked before anything is read, and put into words where one fails.

The SDK takes a map for a stream that doesn't exist for one that isn't needed, and a misspelt option
or field for a new field: what was to be hashed or left out then leaves the tap as it is.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import partial
from typing import Any, cast

from simpleeval import FunctionNotDefined, NameNotDefined  # type: ignore[import-untyped]
from singer_sdk import Stream
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
    CustomStreamMap,
    RemoveRecordTransform,
    StreamMap,
)

from tap_nexudus_usage.emission.records import DELETED_AT, RecordShape
from tap_nexudus_usage.errors import SettingsError

logger = logging.getLogger(__name__)

OPTIONS = frozenset(
    {
        MAPPER_ALIAS_OPTION,
        MAPPER_ELSE_OPTION,
        MAPPER_FILTER_OPTION,
        MAPPER_KEY_PROPERTIES_OPTION,
        MAPPER_SOURCE_OPTION,
    }
)
NULLS = (None, NULL_STRING)

Maps = Mapping[str, Any]
Record = Mapping[str, Any]


def check(maps: Any, streams: Mapping[str, Stream]) -> None:
    """Raise SettingsError where a map is for what doesn't exist, or can't be read.

    All of it, instead of the SDK's JSON schema, which fails on an `__else__` that isn't null.
    """
    if not isinstance(maps, dict):
        message = "Setting stream_maps must be an object"
        raise SettingsError(message)
    for key, definition in maps.items():
        if key == MAPPER_ELSE_OPTION:
            _check_option(key, key, definition)
            continue
        if not isinstance(definition, dict) and definition not in NULLS:
            message = f"Setting stream_maps.{key} must be an object, or null"
            raise SettingsError(message)
        source = _source(key, definition)
        matching = [stream for name, stream in streams.items() if fnmatch(name, source)]
        if not matching:
            message = (
                f"Setting stream_maps: there is no stream {source!r:.100}; there is "
                f"{' and '.join(streams)}"
            )
            raise SettingsError(message)
        if isinstance(definition, dict):
            fields = set[str]().union(*(stream.schema["properties"] for stream in matching))
            for name, value in definition.items():
                check_one = (
                    _check_option if name.startswith("__") else partial(_check_field, fields)
                )
                check_one(f"{key}.{name}", name, value)


def _source(key: str, definition: Any) -> str:
    """The stream that a map is for; it may have wildcards."""
    return str(definition.get(MAPPER_SOURCE_OPTION, key) if isinstance(definition, dict) else key)


def _check_option(where: str, name: str, value: Any) -> None:
    wanted = ""
    if name not in OPTIONS:
        wanted = f"is no option; there is {', '.join(sorted(OPTIONS))}"
    elif name == MAPPER_ELSE_OPTION and value not in NULLS:
        wanted = "must be null"
    elif name == MAPPER_KEY_PROPERTIES_OPTION and not isinstance(value, list | None):
        wanted = "must be an array of fields, or null"
    elif name in {MAPPER_ALIAS_OPTION, MAPPER_SOURCE_OPTION} and not isinstance(value, str):
        wanted = "must be text"
    elif name == MAPPER_FILTER_OPTION and value is not None:
        _check_expression(where, value)
    if wanted:
        message = f"Setting stream_maps.{where} {wanted}"
        raise SettingsError(message)


def _check_field(fields: set[str], where: str, name: str, expression: Any) -> None:
    is_removed = expression is None or expression == NULL_STRING
    if not is_removed:
        _check_expression(where, expression)
    alike = {field.casefold(): field for field in fields}.get(name.casefold())
    if name not in fields and (is_removed or alike):
        message = f"Setting stream_maps.{where}: there is no field {name!r:.100}"
        raise SettingsError(message + (f"; there is {alike}" if alike else ""))


def _check_expression(where: str, expression: Any) -> None:
    if not isinstance(expression, str):
        message = f"Setting stream_maps.{where} must be an expression as text, or null"
        raise SettingsError(message)
    try:
        ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        message = f"Setting stream_maps.{where}: {expression!r:.100} is no expression: {reason}"
        raise SettingsError(message) from None


def in_words(error: Exception) -> SettingsError:
    """What the SDK has against stream maps or flattening."""
    if isinstance(error, ConfigValidationError):
        return SettingsError(f"Setting {'; '.join(error.errors) or error}")
    cause = f": {error.__cause__}" if error.__cause__ else ""
    return SettingsError(f"Setting stream_maps or flattening_… is wrong: {error}{cause}")


def removes(stream_maps: list[StreamMap]) -> bool:
    """Whether nothing of a stream is left."""
    return all(isinstance(stream_map, RemoveRecordTransform) for stream_map in stream_maps)


def try_tombstone(maps: Maps, stream: Stream) -> None:
    """Raise SettingsError where a tombstone, if one comes, would spoil a row; warn where none will.

    Nothing but its Id and the mark is in it, so that a map that serves every record may fail on it.
    """
    tombstone = RecordShape(stream.schema, frozenset()).tombstone(1)
    try:
        messages = list(stream._generate_record_messages(tombstone))  # noqa: SLF001 - as in `Output`
    except Exception as error:  # noqa: BLE001 - an expression may raise anything
        raise explain(error, maps, stream, tombstone) from None
    for stream_map in stream.stream_maps:
        name = stream_map.stream_alias
        records = [message.record for message in messages if message.stream == name]
        if not records and not removes([stream_map]):
            logger.warning(
                "Setting stream_maps drops tombstones, so that the target keeps what is gone in "
                "%s: let them pass with __filter__: %s is not None or …",
                name,
                DELETED_AT,
            )
        for record in records:
            needed = {DELETED_AT, *(stream_map.transformed_key_properties or ())}
            if lacking := sorted(field for field in needed if record.get(field) is None):
                message = (
                    f"Setting stream_maps leaves a tombstone in {name} without "
                    f"{' and '.join(lacking)}: it would look like a record of nulls. Keep that in "
                    "the map, or set on_missing_record to warn"
                )
                raise SettingsError(message)


def explain(error: Exception, maps: Maps, stream: Stream, record: Record) -> SettingsError:
    """The field whose expression fails on `record`, why, and what to do where null is the cause.

    `error` is what was raised; it doesn't tell the field, so the expressions are tried again.
    """
    where, hint = "", ""
    for field, expression, raised in _failing(maps, stream, record):
        where, error = f", field {field}", raised
        hint = _hint(field, expression, raised, stream, record)
        break
    is_tombstone = record.get(DELETED_AT) is not None
    what = "a tombstone" if is_tombstone else f"the record with Id {record.get('Id')}"
    return SettingsError(
        f"Setting stream_maps fails on {what}{where}: {_without_values(str(error), record)}{hint}"
    )


def _failing(maps: Maps, stream: Stream, record: Record) -> Iterator[tuple[str, str, Exception]]:
    custom = [item for item in stream.stream_maps if isinstance(item, CustomStreamMap)]
    definitions = [
        definition
        for key, definition in maps.items()
        if isinstance(definition, dict) and fnmatch(stream.name, _source(key, definition))
    ]
    for definition in definitions if custom else ():
        # The filter comes first, as in the SDK: what it drops isn't mapped.
        for field in sorted(definition, key=lambda name: name != MAPPER_FILTER_OPTION):
            expression = definition[field]
            is_filter = field == MAPPER_FILTER_OPTION
            if expression in NULLS or (field in OPTIONS and not is_filter):
                continue
            try:
                result = custom[0]._eval(  # noqa: SLF001 - the SDK has nothing public for it
                    expression,
                    cast("ast.Expr", ast.parse(expression).body[0]),
                    dict(record),
                    None if is_filter else field,
                )
            except Exception as error:  # noqa: BLE001 - an expression may raise anything
                yield field, expression, cast("Exception", error.__cause__ or error)
            else:
                if is_filter and not result:
                    break


def _hint(field: str, expression: str, error: Exception, stream: Stream, record: Record) -> str:
    if isinstance(error, NameNotDefined):
        name = getattr(error, "name", "")
        is_known = name in stream.schema["properties"]
        return f"; {name} isn't selected" if is_known else "; there is no such field"
    if isinstance(error, FunctionNotDefined):
        return ""
    used = {
        node.id if isinstance(node, ast.Name) else node.value
        for node in ast.walk(ast.parse(expression, mode="eval"))
        if isinstance(node, ast.Name | ast.Constant)
    }
    nulls = [
        name
        for name, value in record.items()
        if value is None and (name in used or (name == field and "self" in used))
    ]
    if not nulls:
        return ""
    return (
        f". There, {' and '.join(nulls)} is null: does the expression allow for it? Tombstones "
        "have nothing but their Id"
    )


def _without_values(text: str, record: Record) -> str:
    """An error may quote what it fails on, an email address perhaps."""
    values = [value for value in record.values() if isinstance(value, str) and value.strip()]
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "…")
    return text
