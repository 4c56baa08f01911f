"""Catalogs, as runners, Singer's tools and hands make them, brought into one shape.

The SDK takes an entry as it is: one without keys leaves the stream without keys, one that says
`replication-method` in its metadata, where the Singer specification has it, isn't heard, and a
field removed from the schema stays in the records. So what an entry says is laid over the one that
discovery gives, and the SDK gets the whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from singer_sdk import Stream
from singer_sdk.singerlib import Catalog, CatalogEntry, Metadata, MetadataMapping, Schema
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL

from tap_nexudus_usage.errors import SettingsError

logger = logging.getLogger(__name__)

METHODS = (REPLICATION_INCREMENTAL, REPLICATION_FULL_TABLE)

Json = Mapping[str, Any]

_WORD = {"type": ["boolean", "null"]}
_NAME = {"type": ["string", "null"]}
_SHAPE = Draft202012Validator(
    {
        "type": "object",
        "required": ["streams"],
        "properties": {
            "streams": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["tap_stream_id"],
                    "properties": {
                        "tap_stream_id": {"type": "string"},
                        "selected": _WORD,
                        "replication_key": _NAME,
                        "replication_method": _NAME,
                        "schema": {
                            "type": ["object", "null"],
                            "properties": {
                                "selected": _WORD,
                                "properties": {
                                    "type": ["object", "null"],
                                    "additionalProperties": {
                                        "type": "object",
                                        "properties": {"selected": _WORD},
                                    },
                                },
                            },
                        },
                        "metadata": {
                            "type": ["array", "null"],
                            "items": {
                                "type": "object",
                                "required": ["breadcrumb", "metadata"],
                                "properties": {
                                    "breadcrumb": {"type": "array", "items": {"type": "string"}},
                                    "metadata": {
                                        "type": "object",
                                        "properties": {
                                            "selected": _WORD,
                                            "selected-by-default": _WORD,
                                            "replication-key": _NAME,
                                            "replication-method": _NAME,
                                            "forced-replication-method": _NAME,
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            }
        },
    }
)


def complete(given: Json, streams: Iterable[Stream]) -> Catalog:
    """What a catalog says of `streams`, completed by what they are.

    Raises SettingsError where it can't be understood, or asks for what there isn't.
    """
    error = best_match(_SHAPE.iter_errors(given))
    if error is not None:
        message = f"The catalog can't be understood: {_in_words(error)}; discover it again"
        raise SettingsError(message)
    known = {stream.name: stream for stream in streams}
    entries = {entry["tap_stream_id"]: entry for entry in given["streams"]}
    for name in entries.keys() - known.keys():
        logger.warning("The catalog has a stream %.100r that the tap doesn't have: ignored", name)
    catalog = Catalog(
        (name, _complete(entries[name], stream))
        for name, stream in known.items()
        if name in entries
    )
    if not any(entry.metadata.root.selected for entry in catalog.values()):
        message = f"The catalog selects no stream; there is {' and '.join(known)}"
        raise SettingsError(message)
    return catalog


def _in_words(error: ValidationError) -> str:
    where = ".".join(map(str, error.path))
    if error.validator == "required":
        return f"{where}: {error.message}" if where else error.message
    types: Any = error.validator_value
    return f"{where} must be {types if isinstance(types, str) else ' or '.join(types)}"


def _complete(given: Json, stream: Stream) -> CatalogEntry:
    said = {tuple(item["breadcrumb"]): item["metadata"] for item in given.get("metadata") or ()}
    root: Json = said.pop((), {})
    schema: Json = given.get("schema") or {}
    fields: Json = schema.get("properties") or stream.schema["properties"]
    metadata = _metadata(fields, said, stream)
    metadata.root.selected = _is_selected(given, schema, root)
    _warn_of_other_keys(given, root, stream)
    return CatalogEntry(
        tap_stream_id=stream.name,
        stream=stream.name,
        key_properties=stream.primary_keys,
        replication_key=stream.replication_key,
        replication_method=_replication_method(given, root, stream),
        schema=Schema.from_dict(_schema(fields, stream)),
        metadata=metadata,
    )


def _schema(fields: Json, stream: Stream) -> dict[str, Any]:
    """The stream's schema, with other types for those fields that the catalog has any for."""
    own = stream.schema
    return {
        **own,
        "properties": {
            name: fields[name] if fields.get(name, {}).keys() - {"selected"} else definition
            for name, definition in own["properties"].items()
        },
    }


def _metadata(
    fields: Json, given: Mapping[tuple[str, ...], Json], stream: Stream
) -> MetadataMapping:
    """The stream's metadata, with the catalog's selection of fields.

    What the stream itself can't do without stays automatic. Nothing else does: Meltano makes every
    field so that a catalog has no metadata for, and the SDK then selects it whatever is said.
    """
    metadata = deepcopy(stream.metadata)
    unknown = {".".join(path[1::2]) for path in given.keys() - metadata.keys()}
    removed = []
    for path, own in metadata.items():
        if not path:
            continue
        name = path[1]
        own.selected = _field_is_selected(given.get(path, {}), fields.get(name, {}))
        if name not in fields and own.inclusion != Metadata.InclusionType.AUTOMATIC:
            own.selected = False
            removed.append(name)
    unknown |= fields.keys() - stream.schema["properties"].keys()
    if removed:
        logger.warning(
            "Left out, because the catalog's schema of %s lacks them: %s",
            stream.name,
            ", ".join(removed),
        )
    if unknown:
        logger.warning(
            "The catalog has fields that %s doesn't have: %.300s: ignored",
            stream.name,
            ", ".join(sorted(unknown)),
        )
    return metadata


def _is_selected(given: Json, schema: Json, root: Json) -> bool:
    """Whether the stream is selected: old catalogs say so in the entry or in its schema."""
    for place in (root, given, schema):
        if (word := place.get("selected")) is not None:
            return bool(word)
    if root.get("inclusion") == Metadata.InclusionType.AUTOMATIC:
        return True
    return bool(root.get("selected-by-default", not root))


def _field_is_selected(metadata: Json, definition: Json) -> bool | None:
    """The word on a field, None where there is none: then the stream's counts."""
    if metadata.get("inclusion") == Metadata.InclusionType.UNSUPPORTED:
        return False
    words = (
        metadata.get("selected"),
        definition.get("selected"),
        metadata.get("selected-by-default"),
    )
    return next((word for word in words if word is not None), None)


def _replication_method(given: Json, root: Json, stream: Stream) -> str:
    """The metadata's before the entry's own, which discovery always fills in."""
    says = (
        root.get("replication-method")
        or root.get("forced-replication-method")
        or given.get("replication_method")
        or REPLICATION_INCREMENTAL
    )
    method = str(says).strip().upper()
    if method not in METHODS:
        message = (
            f"The catalog's replication method for {stream.name} is {says!r:.40}; it must be "
            f"{' or '.join(METHODS)}"
        )
        raise SettingsError(message)
    key = root.get("replication-key") or given.get("replication_key") or stream.replication_key
    if method == REPLICATION_INCREMENTAL and key != stream.replication_key:
        message = (
            f"The catalog's replication key for {stream.name} is {key!r:.40}; it must be "
            f"{stream.replication_key}"
        )
        raise SettingsError(message)
    return method


def _warn_of_other_keys(given: Json, root: Json, stream: Stream) -> None:
    own = list(stream.primary_keys)
    for keys in (given.get("key_properties"), root.get("table-key-properties")):
        if isinstance(keys, (list, tuple)) and keys and list(keys) != own:
            logger.warning(
                "The catalog's keys of %s are ignored, they are %s; __key_properties__ in "
                "stream_maps sets others",
                stream.name,
                ", ".join(own),
            )
