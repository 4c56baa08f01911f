"""What the environment says of the way to the API: a proxy, and whose certificates count."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.utils import select_proxy

from tap_nexudus_usage.errors import SettingsError


@dataclass(frozen=True)
class Environment:
    """What the environment says of the way to the API.

    Attributes:
        settings: keyword arguments for `Session.send`.
        proxy: the address of the proxy in use, without its login.
    """

    settings: dict[str, Any]
    proxy: str | None = None
    proxy_password: str | None = field(default=None, repr=False)


def environment_of(url: str) -> Environment:
    """What the environment says for calls to `url`; raises SettingsError where that can't be used.

    requests itself would read it three times a call, and fail at each.
    """
    settings: dict[str, Any] = {
        **requests.Session().merge_environment_settings(url, {}, None, None, None)
    }
    if url.startswith("https:") and isinstance(settings["verify"], str):
        _check_authorities(settings["verify"])
    address = select_proxy(url, settings["proxies"])
    if not address:
        return Environment(settings)
    return Environment(settings, *_check_proxy(address))


def _check_authorities(path: str) -> None:
    """Raise SettingsError where `path` holds no certificates that OpenSSL can read."""
    where = {"cafile": path} if not Path(path).is_dir() else {"capath": path}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**where)
    except OSError as error:
        reason = "not certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        message = (
            f"{_variable(path, 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE')} must name a file with "
            f"certificates; {path!r:.200} can't be read: {reason}"
        )
        raise SettingsError(message) from error


def _check_proxy(address: str) -> tuple[str, str | None]:
    """How a proxy is named without its login, and its password; raises SettingsError."""
    name = _variable(address, "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
    with_scheme = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(with_scheme)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    rest = parts.path + parts.query + parts.fragment if host else "@"
    if not host or "@" in rest or not with_scheme.isprintable() or " " in with_scheme:
        # It isn't quoted: of a wrong address nobody knows which part is the password.
        message = (
            f"The proxy in {name} must be an address like http://proxy.example.com:3128; special "
            "characters in its login have to be percent-encoded"
        )
        raise SettingsError(message)
    shown = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}" + (
        f":{port}" if port else ""
    )
    if parts.scheme not in {"http", "https"}:
        message = f"The proxy {shown} in {name} can't be used: only those of http and https can"
        raise SettingsError(message)
    password = unquote(parts.password or "")
    try:
        f"{unquote(parts.username or '')}{password}".encode("latin-1")
    except UnicodeEncodeError:
        message = f"The login of the proxy {shown} in {name} must be of characters in Latin-1"
        raise SettingsError(message) from None
    return shown, password or None


def _variable(value: str, *names: str) -> str:
    """The environment variable among `names`, in capitals or not, that has `value`."""
    found = (name for name in os.environ if name.upper() in names and os.environ[name] == value)
    return next(found, "the system's settings")
