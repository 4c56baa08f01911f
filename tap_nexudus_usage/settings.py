"""Settings, from what the user wrote to what the tap works with; errors that say what to do."""

from __future__ import annotations

import csv
import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema.exceptions import ValidationError

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.nexudus.auth import Credentials, Totp

LARGEST_ID = 2**63 - 1

LONGEST_LOOKBACK = 9_000 * 8_766
"""Hours; nothing is recorded before."""

LONGEST_WAIT = 10**9
"""Seconds; operating systems can't wait for ever."""

HEADERS = ("access_token", "client_id", "user_agent")
"""Settings that are sent as a header, which has room for ASCII only."""

_DIGITS = re.compile(r"[+-]?\d+", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_DECIMAL = re.compile(r"[+-]?\d+\.\d+", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """Everything a run needs to know, checked. Names, meanings and units as in the README."""

    credentials: Credentials
    record_ids: tuple[int, ...]
    start_date: str | None
    lookback_hours: int
    on_missing_record: str
    on_invalid_record: str
    batch_size: int
    page_size: int
    max_concurrent_requests: int
    requests_per_minute: int
    request_timeout: float
    max_retries: int
    max_throttle_wait: float
    api_url: str
    user_agent: str


def from_config(config: Mapping[str, Any], *, default_user_agent: str) -> Settings:
    """The settings in `config`, which `tidy` and the JSON schema have been through.

    Reads `record_ids_file`. Raises SettingsError.
    """
    _check_texts(config)
    return Settings(
        credentials=_credentials(config),
        record_ids=_record_ids(config),
        start_date=_start_date(config.get("start_date")),
        api_url=_api_url(config["api_url"]),
        user_agent=config.get("user_agent", default_user_agent),
        lookback_hours=min(config["lookback_hours"], LONGEST_LOOKBACK),
        request_timeout=_seconds(config, "request_timeout"),
        max_throttle_wait=_seconds(config, "max_throttle_wait"),
        **{
            name: config[name]
            for name in (
                "on_missing_record",
                "on_invalid_record",
                "batch_size",
                "page_size",
                "max_concurrent_requests",
                "requests_per_minute",
                "max_retries",
            )
        },
    )


def tidy(config: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """`config` without empty settings, and with text turned into the type that is due.

    White space around text goes. Environment variables are text: numbers become numbers,
    comma-separated Ids an array. What can't be turned stays as it is, for the JSON schema to
    complain of.
    """
    tidied = {}
    for name, value in config.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        types = properties.get(name, {}).get("type", [])
        if "array" in types:
            tidied[name] = _to_array(value)
        elif "boolean" in types:
            tidied[name] = _BOOLEANS.get(str(value).strip().casefold(), value)
        elif "integer" in types or "number" in types:
            tidied[name] = _to_number(value)
        elif isinstance(value, str) and name != "password":
            # A line's end that came along from a file or a clipboard.
            tidied[name] = value.strip()
        else:
            tidied[name] = value
    return tidied


def describe(error: ValidationError) -> str:
    """What is wrong with a setting, without its value: it may be a secret."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.path)
    limit: Any = error.validator_value
    if error.validator == "type":
        names = [limit] if isinstance(limit, str) else limit
        wanted = "of type " + " or ".join(name for name in names if name != "null")
    elif error.validator == "minimum":
        wanted = f"at least {limit}"
    elif error.validator == "exclusiveMinimum":
        wanted = f"more than {limit}"
    elif error.validator == "maximum":
        wanted = f"at most {limit}"
    elif error.validator == "enum":
        wanted = "one of " + ", ".join(map(str, limit))
    else:
        wanted = f"as its schema says ({error.validator})"
    return f"Setting {path.removeprefix('.')} must be {wanted}"


def _to_integer(value: Any) -> Any:
    text = value.strip() if isinstance(value, str) else ""
    # int() of a very long text is slow and, from Python 3.11 on, refused.
    return int(text) if len(text) < len(str(LARGEST_ID)) + 1 and _DIGITS.fullmatch(text) else value


def _to_number(value: Any) -> Any:
    # The SDK reads fractions in config files as Decimal.
    is_fraction = isinstance(value, str) and _DECIMAL.fullmatch(value.strip())
    return float(value) if is_fraction or isinstance(value, Decimal) else _to_integer(value)


def _to_array(value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
    return [_to_integer(item) for item in value] if isinstance(value, list) else value


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


def _record_ids(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The distinct Ids configured, in order; empty where none is."""
    listed = [_record_id(value, "Setting record_ids") for value in config.get("record_ids", [])]
    if path := config.get("record_ids_file"):
        listed += _read_ids(Path(path))
    return tuple(dict.fromkeys(listed))


def _read_ids(path: Path) -> list[int]:
    """The Ids in a text or CSV file: one a line, or the column `Id`; `#` begins a comment."""
    where = f"Setting record_ids_file: {path}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if _has_content(row)]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a text or CSV file in UTF-8"
        message = f"{where} can't be read: {reason}"
        raise SettingsError(message) from error
    header = [cell.strip().casefold() for cell in rows[0][1]] if rows else []
    column = header.index("id") if "id" in header else None
    if column is None and any(len(row) > 1 for _, row in rows):
        message = f"{where} has several columns, but none is named Id"
        raise SettingsError(message)
    if column is not None:
        rows = rows[1:]
    for number, row in rows:
        if column is not None and len(row) > len(header):
            message = f"{where}, line {number} has more cells than the header"
            raise SettingsError(message)
    if not rows:
        message = f"{where} holds no Id"
        raise SettingsError(message)
    return [
        _record_id(_to_integer("".join(row[column or 0 :][:1])), f"{where}, line {number}")
        for number, row in rows
    ]


def _has_content(row: list[str]) -> bool:
    return any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")


def _record_id(value: Any, where: str) -> int:
    if type(value) is int and 0 < value <= LARGEST_ID:
        return value
    message = f"{where}: {value!r:.40} is no Id; Ids are whole numbers from 1 to {LARGEST_ID}"
    raise SettingsError(message)
