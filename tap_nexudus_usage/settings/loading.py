"""From a configuration as it was written to settings that can be relied on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.settings.checked import Settings, from_config
from tap_nexudus_usage.settings.declared import json_schema
from tap_nexudus_usage.settings.tidying import describe, tidy

logger = logging.getLogger(__name__)


def validated(
    config: Mapping[str, Any], schema: Mapping[str, Any], aside: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The configuration tidied, with the defaults, and what is wrong with it.

    `aside` names a setting that isn't looked at.
    """
    properties = schema["properties"]
    tidied = tidy(config, properties)
    # `ids` looks at the Ids, of which there may be many.
    is_left = {
        name: name == aside or (name == "record_ids" and isinstance(value, list))
        for name, value in tidied.items()
    }
    looked_at = {name: value for name, value in tidied.items() if not is_left[name]}
    errors = sorted(map(describe, Draft202012Validator(schema).iter_errors(looked_at)))
    defaults = {
        name: definition["default"]
        for name, definition in properties.items()
        if "default" in definition
    }
    return {**defaults, **tidied}, errors


def warn_of_unknown(config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Name the settings that there aren't."""
    for name in sorted(config.keys() - set(known)):
        logger.warning("There is no setting %.100r; it is ignored", name)


def load(config: Mapping[str, Any], *, default_user_agent: str) -> Settings:
    """The settings in a configuration; reads `record_ids_file`. Raises SettingsError."""
    whole, errors = validated(config, json_schema())
    if errors:
        raise SettingsError("; ".join(errors))
    return from_config(whole, default_user_agent=default_user_agent)
