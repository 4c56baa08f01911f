"""The settings, declared once: Singer's config, `--about` and docs/settings.md come from this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _setting(json_type: str, title: str, description: str, **more: Any) -> dict[str, Any]:
    """The JSON schema of a setting that may be left out."""
    return {"type": [json_type, "null"], "title": title, **more, "description": description}


def _secret(title: str, description: str) -> dict[str, Any]:
    return _setting("string", title, description, secret=True, writeOnly=True)


DIALECT = "https://json-schema.org/draft/2020-12/schema"

PROPERTIES: Mapping[str, Mapping[str, Any]] = {
    "username": _secret(
        "Username",
        "Email of the API user.",
    ),
    "password": _secret(
        "Password",
        "Password of the API user. The durable way to log in.",
    ),
    "totp_secret": _secret(
        "TOTP secret",
        (
            "Base32 seed of the user's two-factor authentication, where that is on; the code is "
            "made from it at each login."
        ),
    ),
    "refresh_token": _secret(
        "Refresh token",
        (
            "Alternative start without a password. It rotates in memory and can't be written back,"
            " so it serves one run."
        ),
    ),
    "access_token": _secret(
        "Access token",
        "A ready-made bearer token, used as it is.",
    ),
    "client_id": _setting(
        "string",
        "Client Id",
        (
            "Sent as the client_id header of logins, so that they don't end another integration's "
            "refresh token. Unset: tap-nexudus-usage where a password is given, else none."
        ),
    ),
    "record_ids": _setting(
        "array",
        "Record Ids",
        (
            "The Ids of the ledger's records to read, as an array or as text with commas "
            "(environment variables); of the allowances, those that they name are read. None: all "
            "are searched."
        ),
        items={"type": ["integer"]},
    ),
    "record_ids_file": _setting(
        "string",
        "Record Ids file",
        "Path of a text or CSV file, one Id a line or a column Id; adds to record_ids.",
    ),
    "start_date": _setting(
        "string",
        "Start date",
        "Ignore records whose UpdatedOn is earlier.",
        format="date-time",
    ),
    "lookback_hours": _setting(
        "integer",
        "Lookback (hours)",
        "Search only: how far behind the bookmark to read again.",
        minimum=0,
        default=26,
    ),
    "emit_activate_version_messages": _setting(
        "boolean",
        "Emit ACTIVATE_VERSION",
        (
            "With full table replication: let the target delete, after a complete read, what is no"
            " longer in Nexudus."
        ),
        default=False,
    ),
    "on_missing_record": _setting(
        "string",
        "On a missing record",
        "What to do about an Id, configured or named by the ledger, that the API doesn't have.",
        default="warn",
        enum=["warn", "fail", "tombstone"],
    ),
    "on_invalid_record": _setting(
        "string",
        "On an invalid record",
        "What to do about a record that breaks the schema; warn skips it.",
        default="fail",
        enum=["fail", "warn"],
    ),
    "batch_size": _setting(
        "integer",
        "Batch size",
        "Ids per get-many call, fewer where the URL would exceed its limit; 1 = always get one.",
        minimum=1,
        maximum=200,
        default=200,
    ),
    "page_size": _setting(
        "integer",
        "Page size",
        "Records per search page.",
        minimum=1,
        maximum=1000,
        default=1000,
    ),
    "max_concurrent_requests": _setting(
        "integer",
        "Concurrent requests",
        "How many calls may be under way at once.",
        minimum=1,
        maximum=16,
        default=4,
    ),
    "requests_per_minute": _setting(
        "integer",
        "Requests per minute",
        (
            "Pace, together with the other published limits (one call per 100 ms, 5,000 an hour, "
            "200,000 a day); 0 switches all pacing off."
        ),
        minimum=0,
        default=120,
    ),
    "request_timeout": _setting(
        "number",
        "Request timeout (seconds)",
        "Seconds to wait for the connection, and for each part of an answer.",
        exclusiveMinimum=0,
        default=60,
    ),
    "max_retries": _setting(
        "integer",
        "Tries",
        "Tries of one call on transient faults, with exponential backoff of at most 60 seconds.",
        minimum=1,
        default=8,
    ),
    "max_throttle_wait": _setting(
        "number",
        "Longest throttle wait (seconds)",
        "Seconds that one call may wait in all when the API throttles.",
        minimum=0,
        default=3900,
    ),
    "api_url": _setting(
        "string",
        "API address",
        "Base address of the API; plain http only for loopback addresses.",
        default="https://spaces.nexudus.com",
    ),
    "user_agent": _setting(
        "string",
        "User agent",
        "Sent with each call. Unset: tap-nexudus-usage/<version>.",
    ),
}
"""Each with its JSON schema; `secret` marks what must not be shown."""


def json_schema() -> dict[str, Any]:
    """The JSON schema of a configuration."""
    properties = {name: dict(definition) for name, definition in PROPERTIES.items()}
    return {"type": "object", "properties": properties, "$schema": DIALECT}
