"""What a configuration looks like: the settings as declared, the ways to log in as a choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tap_nexudus_usage.settings.declared import PROPERTIES

DOCUMENTATION = (
    "https://example.com/REPLACE-ON-PUBLISHING/tap-nexudus-usage/blob/main/docs/airbyte.md"
)

CREDENTIALS, WAY = "credentials", "auth_type"

WAYS: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "password": ("Username and password", ("username", "password"), ("totp_secret",)),
    "refresh_token": ("Refresh token", ("refresh_token",), ()),
    "access_token": ("Access token", ("access_token",), ()),
}
"""By its constant, each way to log in: its title, the settings it needs, and those it may have."""

OTHERWISE = {
    "refresh_token": "Alternative start without a password. It rotates, and the new one is handed "
    "back, which not every client of Airbyte's keeps: the password is the durable way."
}
"""Descriptions of settings that aren't Singer's."""

SINGER_ONLY = frozenset({"emit_activate_version_messages"})

NAMES = tuple(name for name in PROPERTIES if name not in SINGER_ONLY)
"""The settings that there are under Airbyte."""

_LOGIN = {name for _, needed, more in WAYS.values() for name in (*needed, *more)}

Json = dict[str, Any]


def spec() -> Json:
    """The ConnectorSpecification."""
    names = [name for name in NAMES if name not in _LOGIN]
    properties = {name: _property(name, order) for order, name in enumerate(names, start=1)}
    return {
        "documentationUrl": DOCUMENTATION,
        "supportsIncremental": True,
        "connectionSpecification": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Nexudus usage",
            "type": "object",
            "required": [CREDENTIALS],
            "additionalProperties": True,
            "properties": {CREDENTIALS: _credentials(), **properties},
        },
    }


def flattened(config: Mapping[str, Any]) -> Json:
    """The settings, under their own names, of a configuration; one without the choice is taken."""
    credentials = config.get(CREDENTIALS)
    chosen = credentials if isinstance(credentials, dict) else {}
    settings = {name: value for name, value in config.items() if name != CREDENTIALS}
    return settings | {name: value for name, value in chosen.items() if name != WAY}


def with_refresh_token(config: Mapping[str, Any], token: str) -> Json:
    """The whole configuration with another refresh token."""
    credentials = config.get(CREDENTIALS)
    if isinstance(credentials, dict):
        return {**config, CREDENTIALS: {**credentials, "refresh_token": token}}
    return {**config, "refresh_token": token}


def _credentials() -> Json:
    return {
        "type": "object",
        "title": "Login",
        "description": "How to log in to Nexudus.",
        "order": 0,
        "oneOf": [_way(name, *of_way) for name, of_way in WAYS.items()],
    }


def _way(name: str, title: str, needed: tuple[str, ...], more: tuple[str, ...]) -> Json:
    constant = {"type": "string", "const": name, "order": 0}
    settings = enumerate((*needed, *more), start=1)
    return {
        "type": "object",
        "title": title,
        # Not the settings themselves: what breaks them is told by us, who quote no secret.
        "required": [WAY],
        "properties": {WAY: constant, **{name: _property(name, order) for order, name in settings}},
    }


def _property(name: str, order: int) -> Json:
    definition = dict(PROPERTIES[name])
    is_secret = bool(definition.pop("secret", False))
    definition.pop("writeOnly", None)
    (definition["type"],) = (kind for kind in definition["type"] if kind != "null")
    if "items" in definition:
        (kind,) = definition["items"]["type"]
        definition["items"] = {"type": kind}
    definition["description"] = OTHERWISE.get(name, definition["description"])
    return {**definition, "order": order} | ({"airbyte_secret": True} if is_secret else {})
