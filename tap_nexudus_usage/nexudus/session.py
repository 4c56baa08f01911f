"""HTTP sessions that suit the API: brackets stay literal, no redirects, no netrc."""

from __future__ import annotations

import logging
import os
import re
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

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


class ApiSession(requests.Session):
    """A session of one thread; `settings` and `proxy` are those of its `Environment`."""

    def __init__(
        self,
        *,
        user_agent: str,
        timeout: float,
        settings: dict[str, Any],
        proxy: str | None = None,
    ) -> None:
        """`timeout` is in seconds, for the connection and for each read."""
        super().__init__()
        self.proxy = proxy
        # It would show, with a traceback, all of the headers behind one that makes no sense.
        logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
        # Besides what `settings` already holds it would only add netrc's logins to ours.
        self.trust_env = False
        self.headers["User-Agent"] = user_agent
        for scheme in ("https://", "http://"):
            self.mount(scheme, _LiteralBracketsAdapter())
        self._settings = settings
        self._timeout = timeout

    @override
    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send `request` and read the whole answer; raises requests.RequestException."""
        options = {
            **self._settings,
            "timeout": self._timeout,
            # The API doesn't redirect; whoever does must not be sent the token.
            "allow_redirects": False,
        }
        try:
            return super().send(request, **options, **kwargs)
        except (OSError, UnicodeError, HTTPError) as error:
            if isinstance(error, requests.RequestException):
                raise
            # What requests lets through of the libraries below.
            raise requests.ConnectionError(error, request=request) from error

    @override
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Nowhere: even where redirects aren't followed, requests fails on some addresses."""
        return None


class _FinalResponse(HTTPResponse):
    """Passes over what a server may say before its answer.

    http.client does so with 100 only; after a 103 the answer would be taken for the next call's.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        early = HTTPStatus.PROCESSING <= status < HTTPStatus.OK
        return version, HTTPStatus.CONTINUE if early else status, reason


class _LiteralBrackets:
    """Sends brackets in the query as they are; urllib3 would percent-encode them.

    "The brackets and commas are literal (percent-encoded brackets are documented nowhere)."
    """

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        path, mark, query = url.partition("?")
        query = query.replace("%5B", "[").replace("%5D", "]")
        super().putrequest(method, path + mark + query, *args, **kwargs)  # type: ignore[misc]


class _LiteralHTTPConnection(_LiteralBrackets, HTTPConnection):
    response_class = _FinalResponse


class _LiteralHTTPSConnection(_LiteralBrackets, HTTPSConnection):
    response_class = _FinalResponse


class _LiteralHTTPPool(HTTPConnectionPool):
    ConnectionCls = _LiteralHTTPConnection


class _LiteralHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _LiteralHTTPSConnection


_NO_CHARSET = re.compile(r";\s*charset\s*(?:;|$)", re.IGNORECASE)

_POOLS = {"http": _LiteralHTTPPool, "https": _LiteralHTTPSPool}


class _LiteralBracketsAdapter(HTTPAdapter):
    """requests' adapter over the pools above, with and without a proxy."""

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _POOLS

    @override
    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """A response; requests fails on a charset that has no value."""
        if _NO_CHARSET.search(resp.headers.get("Content-Type", "")):
            del resp.headers["Content-Type"]
        return super().build_response(req, resp)

    @override
    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
