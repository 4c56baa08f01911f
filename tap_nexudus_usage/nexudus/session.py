"""HTTP sessions that suit the API: brackets stay literal, no redirects, no netrc, paced."""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.client import HTTPResponse
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError


class Gate(Protocol):
    """Passed by each request just before it is written.

    There and not before: until a connection is there takes two round trips or three, and the calls
    of one that is there already would catch up with those that wait for theirs.
    """

    def __call__(self, method: str, /, *, again: bool) -> None:
        """Wait until a request may be written, or raise.

        `again`: it has passed already, but has had to open its connection anew.
        """


class ApiSession(requests.Session):
    """A session of one thread; `settings` and `proxy` are those of its `Environment`.

    Attributes:
        waited: seconds that the last request was held up at the gate.
    """

    def __init__(
        self,
        gate: Gate,
        on_written: Callable[[], None],
        *,
        user_agent: str,
        timeout: float,
        settings: dict[str, Any],
        proxy: str | None = None,
    ) -> None:
        """`on_written` is told when a request that has passed the gate is written.

        `timeout` is in seconds, for the connection and for each read.
        """
        super().__init__()
        self.proxy = proxy
        # It would show, with a traceback, all of the headers behind one that makes no sense.
        logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
        # Besides what `settings` already holds it would only add netrc's logins to ours.
        self.trust_env = False
        self.headers["User-Agent"] = user_agent
        self.waited = 0.0
        self._gate = gate
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(self._pass_gate, on_written))
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
        self.waited = 0.0
        try:
            return super().send(request, **options, **kwargs)
        except (OSError, UnicodeError, HTTPError) as error:
            if isinstance(error, requests.RequestException):
                raise
            # What requests lets through of the libraries below.
            raise requests.ConnectionError(error, request=request) from error

    def _pass_gate(self, method: str, /, *, again: bool) -> None:
        begin = time.monotonic()
        self._gate(method, again=again)
        self.waited += time.monotonic() - begin

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


class _ApiHTTPConnection(HTTPConnection):
    """Sends brackets in the query as they are, and passes the gate with each request.

    urllib3 would percent-encode brackets. "The brackets and commas are literal (percent-encoded
    brackets are documented nowhere)."
    """

    response_class = _FinalResponse

    def __init__(
        self, *args: Any, gate: Gate, on_written: Callable[[], None], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._on_written = on_written

    @override
    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        path, mark, query = url.partition("?")
        query = query.replace("%5B", "[").replace("%5D", "]")
        self._method_at_gate = method
        super().putrequest(method, path + mark + query, *args, **kwargs)

    @override
    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        self._gate(self._method_at_gate, again=False)
        # Once: what the other side closes at once would be opened without end.
        if not self.is_connected:
            self._open_anew()
            self._gate(self._method_at_gate, again=True)
        super().endheaders(*args, **kwargs)
        self._on_written()

    @property
    @override
    def is_connected(self) -> bool:
        """Whether the other side has neither closed the connection nor answered unasked.

        urllib3's doesn't read, and so takes the tickets that TLS sends for its end.
        """
        if self.sock is None:
            return False
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(timeout)
        return False

    def _open_anew(self) -> None:
        """Open a connection in the place of one that the other side closed at the gate."""
        self.sock.close()
        self.sock = None
        try:
            self.connect()
        except ConnectionError as error:
            # urllib3 passes over one that comes while a request is written.
            message = "Connection aborted."
            raise ProtocolError(message, error) from error


class _ApiHTTPSConnection(_ApiHTTPConnection, HTTPSConnection):
    """The same over TLS."""


class _ApiHTTPPool(HTTPConnectionPool):
    ConnectionCls = _ApiHTTPConnection


class _ApiHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _ApiHTTPSConnection


_NO_CHARSET = re.compile(r";\s*charset\s*(?:;|$)", re.IGNORECASE)


class _Adapter(HTTPAdapter):
    """requests' adapter over the pools above, with and without a proxy."""

    def __init__(self, gate: Gate, on_written: Callable[[], None]) -> None:
        # What a pool doesn't know it hands to its connections.
        self._pools: dict[str, Any] = {
            "http": partial(_ApiHTTPPool, gate=gate, on_written=on_written),
            "https": partial(_ApiHTTPSPool, gate=gate, on_written=on_written),
        }
        super().__init__()

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = self._pools

    @override
    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """A response; requests fails on a charset that has no value."""
        if _NO_CHARSET.search(resp.headers.get("Content-Type", "")):
            del resp.headers["Content-Type"]
        return super().build_response(req, resp)

    @override
    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager
