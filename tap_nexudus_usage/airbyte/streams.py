"""Streams as Airbyte knows them: what is discovered, and what of it is configured to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tap_nexudus_usage.emission.records import DELETED_AT
from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.nexudus.entities import ENTITIES, Entity

CURSOR, DELETED = "_ab_cdc_cursor", "_ab_cdc_deleted_at"
"""Columns of Airbyte's conventions.

Destinations keep the row with the greatest cursor. By `UpdatedOn` that would be the older one where
a correction is stamped earlier, and never a tombstone, which has no stamp: so it is a number that
only grows.
"""

FULL_REFRESH, INCREMENTAL = "full_refresh", "incremental"

ALWAYS = frozenset({"Id", CURSOR, DELETED})
"""Fields that can't be deselected: rows couldn't be told apart, or deleted ones from others."""

_INTEGER = {"type": "integer"}
_DATE_TIME = {"airbyte_type": "timestamp_with_timezone"}


@dataclass(frozen=True)
class ConfiguredStream:
    """A stream to be read.

    Attributes:
        is_full: whether all is read anew.
        fields: those selected.
    """

    entity: Entity
    is_full: bool
    fields: frozenset[str]


def discovered() -> list[dict[str, Any]]:
    """The AirbyteStream of each entity."""
    return [
        {
            "name": entity.stream,
            "json_schema": json_schema(entity),
            "supported_sync_modes": [FULL_REFRESH, INCREMENTAL],
            "source_defined_cursor": True,
            "default_cursor_field": [CURSOR],
            "source_defined_primary_key": [["Id"]],
            "is_resumable": True,
        }
        for entity in ENTITIES
    ]


def json_schema(entity: Entity) -> dict[str, Any]:
    """The JSON schema of what is emitted."""
    own = entity.schema()
    properties = {
        name: definition | (_DATE_TIME if definition.get("format") == "date-time" else {})
        for name, definition in own["properties"].items()
    }
    properties[DELETED] = properties.pop(DELETED_AT)
    about = "Grows with each record emitted; the greatest is the latest version of an Id."
    properties[CURSOR] = {**_INTEGER, "description": about}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "description": own["description"],
        "additionalProperties": True,
        "properties": properties,
    }


def configured(catalog: Any) -> list[ConfiguredStream]:
    """The streams that a configured catalog selects, in our order; raises SettingsError."""
    known = {entity.stream: entity for entity in ENTITIES}
    found: dict[str, ConfiguredStream] = {}
    try:
        for given in catalog["streams"]:
            stream, mode = given["stream"], given["sync_mode"]
            name = stream["name"]
            if name not in known:
                message = f"The catalog has a stream {name!r:.100} that there isn't"
                raise SettingsError(message)
            if mode not in {FULL_REFRESH, INCREMENTAL}:
                message = f"The catalog's sync_mode of {name} is {mode!r:.40}; it must be "
                message += f"{FULL_REFRESH} or {INCREMENTAL}"
                raise SettingsError(message)
            fields = (stream.get("json_schema") or {}).get("properties") or known[name].schema()[
                "properties"
            ]
            selected = (frozenset(fields) | ALWAYS) - {DELETED_AT}
            found[name] = ConfiguredStream(known[name], mode == FULL_REFRESH, selected)
    except (TypeError, KeyError, AttributeError) as error:
        message = "The catalog can't be understood; discover and configure it again"
        raise SettingsError(message) from error
    if not found:
        message = f"The catalog configures no stream; there is {' and '.join(known)}"
        raise SettingsError(message)
    return [found[name] for name in known if name in found]


def data(record: Mapping[str, Any], cursor: int, fields: frozenset[str]) -> dict[str, Any]:
    """What is emitted of a record: the fields selected, with Airbyte's own."""
    kept = {name: value for name, value in record.items() if name in fields}
    kept[CURSOR] = cursor
    kept[DELETED] = record[DELETED_AT]
    return kept
