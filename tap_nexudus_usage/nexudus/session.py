"""HTTP sessions that suit the API: brackets stay literal, no redirects, no netrc."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection


def environment_settings(url: str) -> dict[str, Any]:
    """What the environment says for calls to `url`: proxies, REQUESTS_CA_BUNDLE.

    requests itself would read it three times a call. Keyword arguments for `Session.send`.
    """
    settings = requests.Session().merge_environment_settings(url, {}, None, None, None)
    return dict(settings)


class ApiSession(requests.Session):
    """A session of one thread; `settings` are those of `environment_settings`."""

    def __init__(self, *, user_agent: str, timeout: float, settings: dict[str, Any]) -> None:
        """`timeout` is in seconds, for the connection and for each read."""
        super().__init__()
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
        return super().send(request, **options, **kwargs)


class _LiteralBrackets:
    """Sends brackets in the query as they are; urllib3 would percent-encode them.

    "The brackets and commas are literal (percent-encoded brackets are documented nowhere)."
    """

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        path, mark, query = url.partition("?")
        query = query.replace("%5B", "[").replace("%5D", "]")
        super().putrequest(method, path + mark + query, *args, **kwargs)  # type: ignore[misc]


class _LiteralHTTPConnection(_LiteralBrackets, HTTPConnection):
    pass


class _LiteralHTTPSConnection(_LiteralBrackets, HTTPSConnection):
    pass


class _LiteralHTTPPool(HTTPConnectionPool):
    ConnectionCls = _LiteralHTTPConnection


class _LiteralHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _LiteralHTTPSConnection


_POOLS = {"http": _LiteralHTTPPool, "https": _LiteralHTTPSPool}


class _LiteralBracketsAdapter(HTTPAdapter):
    """requests' adapter over the pools above, with and without a proxy."""

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _POOLS

    @override
    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
