"""The settings as the rest works with them: checked, with errors that say what to do."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.emission.due import Rules
from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.nexudus.auth import Credentials
from tap_nexudus_usage.nexudus.connection import ConnectionOptions
from tap_nexudus_usage.settings.ids import record_ids

LONGEST_LOOKBACK = 9_000 * 8_766
"""Hours; nothing is recorded before."""

LONGEST_WAIT = 10**9
"""Seconds; operating systems can't wait for ever."""

HEADERS = ("access_token", "client_id", "user_agent")
"""Settings that are sent as a header, which has room for ASCII only."""


@dataclass(frozen=True)
class Settings:
    """Everything a run needs to know, checked. Names, meanings and units as in docs/settings.md."""

    connection: ConnectionOptions
    rules: Rules
    record_ids: tuple[int, ...]
    lookback_hours: int
    batch_size: int
    page_size: int
    max_concurrent_requests: int


def from_config(config: Mapping[str, Any], *, default_user_agent: str) -> Settings:
    """The settings in `config`, which `tidying` and the JSON schema have been through.

    Reads `record_ids_file`. Raises SettingsError.
    """
    _check_texts(config)
    return Settings(
        connection=ConnectionOptions(
            credentials=_credentials(config),
            api_url=_api_url(config["api_url"]),
            user_agent=config.get("user_agent", default_user_agent),
            requests_per_minute=config["requests_per_minute"],
            request_timeout=_seconds(config, "request_timeout"),
            max_retries=config["max_retries"],
            max_throttle_wait=_seconds(config, "max_throttle_wait"),
        ),
        rules=Rules(
            on_missing_record=config["on_missing_record"],
            on_invalid_record=config["on_invalid_record"],
            start_date=_start_date(config.get("start_date")),
        ),
        record_ids=record_ids(config),
        lookback_hours=min(config["lookback_hours"], LONGEST_LOOKBACK),
        batch_size=config["batch_size"],
        page_size=config["page_size"],
        max_concurrent_requests=config["max_concurrent_requests"],
    )


def _check_texts(config: Mapping[str, Any]) -> None:
    """Raise SettingsError for text that can't be sent; it isn't quoted, it may be a secret."""
    for name, value in config.items():
        if not isinstance(value, str):
            continue
        try:
            value.encode()
        except UnicodeEncodeError:
            message = f"Setting {name} must be text in valid Unicode"
            raise SettingsError(message) from None
        if name in HEADERS and not (value.isascii() and value.isprintable()):
            message = f"Setting {name} must be one line of ASCII characters"
            raise SettingsError(message)


def _seconds(config: Mapping[str, Any], name: str) -> float:
    seconds = float(min(config[name], LONGEST_WAIT))
    if math.isnan(seconds):
        message = f"Setting {name} must be a number of seconds"
        raise SettingsError(message)
    return seconds


def _credentials(config: Mapping[str, Any]) -> Credentials:
    password, username = config.get("password"), config.get("username")
    refresh_token, access_token = config.get("refresh_token"), config.get("access_token")
    if not (password or refresh_token or access_token):
        also = "username is set, but no password. " if username else ""
        message = (
            f"No way to log in: {also}Set username and password, or refresh_token, or access_token"
        )
        raise SettingsError(message)
    if password and not username:
        message = "Setting password needs username, the email of the API user"
        raise SettingsError(message)
    totp_secret = config.get("totp_secret")
    if totp_secret:
        # As late as this: most users have no second factor.
        from tap_nexudus_usage.nexudus.totp import Totp  # noqa: PLC0415

        try:
            Totp(totp_secret).now()
        except ValueError:
            message = (
                "Setting totp_secret must be the base32 seed of the two-factor login, "
                "not a 6-digit code"
            )
            raise SettingsError(message) from None
    return Credentials(
        username=username,
        password=password,
        totp_secret=totp_secret,
        refresh_token=refresh_token,
        access_token=access_token,
        client_id=config.get("client_id", "tap-nexudus-usage" if password else None),
    )


def _api_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    is_plain = url.isascii() and url.isprintable() and not set(url) & set(" ?#")
    if not host or not is_plain or parts.scheme not in {"http", "https"}:
        message = "Setting api_url must be an address like https://spaces.nexudus.com"
        raise SettingsError(message)
    if parts.username is not None:
        message = "Setting api_url must not contain a login; use username and password"
        raise SettingsError(message)
    if parts.scheme == "http" and not _is_loopback(host):
        message = (
            "Setting api_url must begin with https://: over plain http, which only loopback "
            "addresses may use, the password could be read on the way"
        )
        raise SettingsError(message)
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _start_date(value: str | None) -> str | None:
    if value is None:
        return None
    day_only = re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII)
    try:
        return timestamps.canonical(f"{value}T00:00:00Z" if day_only else value)
    except ValueError:
        message = "Setting start_date must be a date-time like 2025-01-15T00:00:00Z"
        raise SettingsError(message) from None
