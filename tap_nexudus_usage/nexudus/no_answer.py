"""What is done about a connection that fails before there is an answer, and how it is told."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from http.client import BadStatusLine, RemoteDisconnected
from socket import gaierror
from urllib.parse import urlsplit

import requests
from requests import exceptions
from urllib3 import exceptions as lower

from tap_nexudus_usage.nexudus.reactions import Action
from tap_nexudus_usage.redaction import Redactor

Fault = tuple[type[Exception], Action, str]

NOT_VALID = "the address isn't valid"
NO_CONNECTION = "no connection within request_timeout"
TLS_BROKE = "the TLS connection broke"

FAULTS: Sequence[Fault] = (
    (ssl.SSLCertVerificationError, Action.REFUSE, "the server's certificate can't be verified"),
    (exceptions.InvalidURL, Action.REFUSE, NOT_VALID),
    (exceptions.InvalidSchema, Action.REFUSE, NOT_VALID),
    (lower.LocationValueError, Action.REFUSE, NOT_VALID),
    (gaierror, Action.RETRY, "the host's name can't be resolved"),
    (ConnectionRefusedError, Action.RETRY, "connection refused"),
    (lower.NewConnectionError, Action.RETRY, "no connection"),
    (exceptions.ConnectTimeout, Action.RETRY, NO_CONNECTION),
    (lower.ConnectTimeoutError, Action.RETRY, NO_CONNECTION),
    (exceptions.Timeout, Action.RETRY, "no answer within request_timeout"),
    (
        lower.ReadTimeoutError,
        Action.RETRY,
        "the answer stalled: nothing more came within request_timeout",
    ),
    (ssl.SSLError, Action.RETRY, TLS_BROKE),
    (lower.SSLError, Action.RETRY, TLS_BROKE),
    (
        exceptions.ContentDecodingError,
        Action.RETRY,
        "the answer isn't compressed in the way that its Content-Encoding says",
    ),
    (exceptions.InvalidHeader, Action.RETRY, "a header of the answer makes no sense"),
    (RemoteDisconnected, Action.RETRY, "the connection was closed without an answer"),
    (BadStatusLine, Action.RETRY, "what answers doesn't speak HTTP"),
    (exceptions.ChunkedEncodingError, Action.RETRY, "the answer was cut off or garbled"),
    (ConnectionResetError, Action.RETRY, "the connection was reset"),
    (Exception, Action.RETRY, "the connection broke"),
)
"""By kind of exception what is done and what is said: the first that an error or one of its causes
is. Everything on the way to an answer may pass, but what isn't valid won't become so."""

NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL's versions call an answer in something else, plain HTTP mostly."""

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3}.*)", re.DOTALL)
"""What http.client says where a proxy doesn't connect; the status and its reason are behind it."""


def action_for_error(error: requests.RequestException) -> Action:
    """What is done about a connection that failed."""
    refusal = _tunnel_refusal(error)
    if refusal.startswith("4") and not refusal.startswith(("408", "429")):
        return Action.REFUSE
    _, action, _ = _fault(error)
    return action


def describe_error(
    error: requests.RequestException, url: str, redactor: Redactor, proxy: str | None = None
) -> str:
    """Words for a failed connection; requests' own repeat the URL and its objects' addresses.

    `proxy` is the address of the one in use.
    """
    _, _, words = _fault(error)
    detail = redactor.excerpt(_detail(error).encode())
    if detail:
        words = f"{words} ({detail})"
    if proxy is None:
        return f"failed at {_host_and_port(url)}: {words}"
    if not isinstance(error, exceptions.ProxyError):
        return f"failed at {_host_and_port(url)}, through the proxy {proxy}: {words}"
    refusal = redactor.excerpt(_tunnel_refusal(error).encode())
    words = f"the proxy {proxy} refuses: {refusal}" if refusal else f"the proxy {proxy}: {words}"
    return f"failed on the way to {_host_and_port(url)}: {words}"


def _fault(error: Exception) -> Fault:
    causes = list(_causes(error))
    return next(fault for fault in FAULTS if any(isinstance(cause, fault[0]) for cause in causes))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and all that it was made from, wherever requests, urllib3 and http.client keep it."""
    found, seen = [error], set()
    while found:
        cause = found.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        kept = (*cause.args, getattr(cause, "reason", None), cause.__cause__)
        found += [inner for inner in kept if isinstance(inner, BaseException)]


def _detail(error: Exception) -> str:
    """What else there is to know: OpenSSL's reason, the operating system's, or a mere name."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            reason = cause.reason or type(cause).__name__
            return "what answers doesn't speak TLS" if reason in NO_TLS else reason
    kind, _, _ = _fault(error)
    if kind not in {Exception, lower.NewConnectionError}:
        return ""
    reasons = [cause.strerror for cause in causes if isinstance(cause, OSError)]
    return next(filter(None, reasons), type(causes[-1]).__name__)


def _tunnel_refusal(error: Exception) -> str:
    """Status and reason with which a proxy refused to connect, or nothing."""
    found = (_TUNNEL.fullmatch(str(cause)) for cause in _causes(error))
    return next((refusal[1] for refusal in found if refusal), "")


def _host_and_port(url: str) -> str:
    """Of an address that `settings.py` has checked."""
    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return (
        f"[{parts.hostname}]:{port}"
        if ":" in (parts.hostname or "")
        else f"{parts.hostname}:{port}"
    )
