"""Connections that fail on the way: what passes is tried again, what doesn't is told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
import trustme
from conftest import SEED, Bench, run_tap_with
from front import Front, Treatment, be_silent, close, forward, reply, say, tunnel
from outcomes import Finished

from tap_nexudus_usage.errors import ApiError
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.records import Ledger
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World

PASSWORD = "Zauberwort"
HIDDEN = f"someone:{PASSWORD}"

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"
"""An alert of TLS."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def https_bench(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A sandbox over https, whose authority the tap trusts."""
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path("server.pem")
    authority.cert_pem.write_to_path("authority.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Path("authority.pem").resolve()))
    with Sandbox(World(Ledger(5, SEED)), certificate="server.pem") as sandbox:
        yield Bench(sandbox)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    return port


def through(proxy: str) -> dict[str, str]:
    """An environment in which everything goes through `proxy`."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {**os.environ, "NO_PROXY": "", "no_proxy": "", **dict.fromkeys(names, proxy)}


def assert_told(finished: Finished, *parts: str) -> None:
    assert finished.code == 1
    assert "Traceback" not in finished.stderr
    assert "This is a bug" not in finished.stderr
    assert PASSWORD not in finished.stderr
    for part in parts:
        assert part in finished.last_line


# TLS


def test_a_peer_that_closes_in_the_handshake_is_tried_again(https_bench: Bench) -> None:
    with Front(close, forward(https_bench.sandbox.url)) as front:
        run = https_bench.read(api_url=f"https://127.0.0.1:{front.port}")

    assert run.ids == list(https_bench.ledger)
    assert front.connections >= 2


@pytest.mark.parametrize(
    ("treatment", "words"),
    [
        (close, "the TLS connection broke"),
        (reply(HANDSHAKE_FAILURE), "the TLS connection broke"),
        (reply(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "what answers doesn't speak TLS"),
    ],
)
def test_tls_that_never_works_is_told_without_blaming_the_certificate(
    https_bench: Bench, treatment: Treatment, words: str
) -> None:
    with Front(treatment) as front:
        run = https_bench.run(api_url=f"https://127.0.0.1:{front.port}", max_retries=3)

    assert isinstance(run.error, ApiError)
    assert words in str(run.error)
    assert f"127.0.0.1:{front.port}" in str(run.error)
    assert "certificate" not in str(run.error)
    assert front.connections == 3


@pytest.mark.parametrize(
    ("identity", "not_after", "words"),
    [
        ("127.0.0.1", datetime(2020, 1, 1, tzinfo=timezone.utc), "certificate has expired"),
        ("spaces.example.com", None, "mismatch"),
    ],
)
def test_a_certificate_that_fails_is_final_and_told_why(
    authority: trustme.CA,
    https_bench: Bench,
    identity: str,
    not_after: datetime | None,
    words: str,
) -> None:
    certificate = authority.issue_cert(identity, not_after=not_after)
    certificate.private_key_and_cert_chain_pem.write_to_path("bad.pem")
    with (
        Sandbox(World(Ledger(5, SEED)), certificate="bad.pem") as sandbox,
        Front(forward(sandbox.url)) as front,
    ):
        run = https_bench.run(api_url=f"https://127.0.0.1:{front.port}")

    assert isinstance(run.error, ApiError)
    assert "the server's certificate can't be verified" in str(run.error)
    assert words in str(run.error)
    assert front.connections == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        ("", "not certificates in PEM"),
        ("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "not certificates"),
    ],
)
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_that_cannot_be_read_are_told(
    https_bench: Bench, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        Path("mine.pem").write_text(content, encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if not k.endswith("CA_BUNDLE")}

    finished = run_tap_with(https_bench.settings(), env={**env, name: "mine.pem"})

    assert_told(finished, name, "mine.pem", words)
    assert https_bench.count_calls() == 0


# Proxies


def test_a_proxy_leads_to_the_api(https_bench: Bench) -> None:
    with Front(tunnel(https_bench.sandbox.url)) as front:
        finished = run_tap_with(
            https_bench.settings(), env=through(f"http://{HIDDEN}@127.0.0.1:{front.port}")
        )

    assert finished.code == 0
    assert finished.run.ids == list(https_bench.ledger)


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (f"socks5://{HIDDEN}@proxy.example.com:1080", "proxy socks5://proxy.example.com:1080"),
        ("socks5h://proxy.example.com", "only those of http and https"),
        ("ftp://proxy.example.com", "only those of http and https"),
        ("http://", "an address like http://proxy"),
        ("http://:3128", "an address like http://proxy"),
        ("http://proxy.example.com:port", "an address like http://proxy"),
        ("http://proxy.example.com:99999", "an address like http://proxy"),
        ("http://[::1", "an address like http://proxy"),
        ("http://a proxy:3128", "an address like http://proxy"),
        (f"http://someone:1/{PASSWORD}@proxy.example.com", "percent-encoded"),
        (f"http://someone:#{PASSWORD}@proxy.example.com", "percent-encoded"),
        (f"http://someone:{PASSWORD}\u20ac@proxy.example.com:3128", "Latin-1"),
        (f"http://someone:{PASSWORD}%E2%82%AC@proxy.example.com:3128", "Latin-1"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_told(bench: Bench, proxy: str, words: str) -> None:
    finished = run_tap_with(bench.settings(), env=through(proxy))

    assert_told(finished, "HTTP_PROXY", "proxy", words)
    assert bench.count_calls() == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_is_named(scheme: str, unused_port: int, bench: Bench) -> None:
    address = f"{scheme}://spaces.example.com"
    settings = bench.settings(api_url="http://127.0.0.1:7" if scheme == "http" else address)

    finished = run_tap_with(
        {**settings, "max_retries": 2}, env=through(f"http://{HIDDEN}@127.0.0.1:{unused_port}")
    )

    host = "127.0.0.1:7" if scheme == "http" else "spaces.example.com:443"
    proxy = f"the proxy http://127.0.0.1:{unused_port}: connection refused (2 tries)"
    assert_told(finished, host, proxy)


@pytest.mark.parametrize(
    ("status", "tries"),
    [("407 Proxy Authentication Required", 1), ("403 Forbidden", 1), ("502 Bad Gateway", 3)],
)
def test_a_proxy_that_refuses_to_connect_is_named(bench: Bench, status: str, tries: int) -> None:
    with Front(say(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())) as front:
        finished = run_tap_with(
            bench.settings(api_url="https://spaces.example.com", max_retries=3),
            env=through(f"http://{HIDDEN}@127.0.0.1:{front.port}"),
        )

    assert_told(finished, f"the proxy http://127.0.0.1:{front.port} refuses: {status}")
    assert front.connections == tries


def test_a_proxy_that_wants_a_login_for_plain_http_is_told(bench: Bench) -> None:
    with Front(say(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")) as front:
        finished = run_tap_with(bench.settings(), env=through(f"http://127.0.0.1:{front.port}"))

    assert_told(finished, "407 Who?", "a proxy on the way wants a login")
    assert front.connections == 1


def test_a_proxy_that_says_nothing_is_named(bench: Bench) -> None:
    with Front(be_silent) as front:
        finished = run_tap_with(
            bench.settings(
                api_url="https://spaces.example.com", max_retries=2, request_timeout=0.2
            ),
            env=through(f"http://127.0.0.1:{front.port}"),
        )

    assert_told(finished, "spaces.example.com:443", f"http://127.0.0.1:{front.port}")
    assert "within request_timeout" in finished.last_line


# Every error of the connection names host and port

ODD_ANSWERS = {
    "nothing": (b"", "the connection was closed without an answer"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "what answers doesn't speak HTTP"),
    "no number": (b"HTTP/1.1 fine\r\n\r\n", "what answers doesn't speak HTTP"),
    "half a body": (OK + b"Content-Length: 100\r\n\r\n{", "cut off or garbled"),
    "a chunk too long": (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", "cut off or garbled"),
    "half a chunk": (CHUNKED + b"ff\r\n{", "cut off or garbled"),
    "no last chunk": (CHUNKED + b"1\r\n{\r\n", "cut off or garbled"),
    "no gzip": (OK + b"Content-Encoding: gzip\r\n\r\n{}", "Content-Encoding"),
    "two lengths": (OK + b"Content-Length: 5, 7\r\n\r\n{}", "a header of the answer"),
    "a long header": (OK + b"A: " + b"a" * 70_000 + b"\r\n\r\n{}", "LineTooLong"),
    "many headers": (OK + b"A: a\r\n" * 200 + b"\r\n{}", "HTTPException"),
}


@pytest.mark.parametrize("odd", ODD_ANSWERS)
def test_what_is_no_answer_is_tried_again(bench: Bench, odd: str) -> None:
    answer, _ = ODD_ANSWERS[odd]
    with Front(say(answer), say(answer), forward(bench.sandbox.url)) as front:
        run = bench.read(api_url=f"http://127.0.0.1:{front.port}")

    assert run.ids == list(bench.ledger)


@pytest.mark.parametrize("odd", ODD_ANSWERS)
def test_what_never_is_an_answer_is_told_with_host_and_port(bench: Bench, odd: str) -> None:
    answer, words = ODD_ANSWERS[odd]
    with Front(say(answer)) as front:
        finished = run_tap_with(
            bench.settings(api_url=f"http://127.0.0.1:{front.port}", max_retries=2)
        )

    assert_told(finished, f"failed at 127.0.0.1:{front.port}: ", words, "(2 tries)")


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Type: application/json; charset",
        b"Content-Type: application/json; charset=",
        b"Content-Type: ;;;=",
        b"Content-Type: text/html; charset=klingon",
        b"Set-Cookie: =; Expires=never; Domain=..",
        b"Server: \xff\xfe",
        b"Date: yesterday",
        b"Content-Length: many",
        b"Content-Encoding: nothing-known",
        b"X",
        b": x",
    ],
)
def test_a_header_that_makes_no_sense_does_no_harm(
    bench: Bench, caplog: pytest.LogCaptureFixture, header: bytes
) -> None:
    body = b'{"access_token": "short", "expires_in": 604799}'
    answer = OK + header + b"\r\nConnection: close\r\n\r\n" + body
    with Front(say(answer), forward(bench.sandbox.url)) as front:
        run = bench.read(api_url=f"http://127.0.0.1:{front.port}")

    assert run.ids == list(bench.ledger)
    assert "Failed to parse headers" not in caplog.text
    # The token was taken, refused, and replaced by another.
    assert [call.status for call in bench.world.calls][:3] == [401, 200, 200]


def test_a_refused_connection_names_host_and_port(bench: Bench, unused_port: int) -> None:
    run = bench.run(api_url=f"http://127.0.0.1:{unused_port}", max_retries=2)

    assert isinstance(run.error, ApiError)
    assert f"failed at 127.0.0.1:{unused_port}: connection refused (2 tries)" in str(run.error)


def test_a_host_without_a_name_is_named_with_its_port(bench: Bench) -> None:
    run = bench.run(api_url="https://nowhere.invalid", max_retries=1)

    assert isinstance(run.error, ApiError)
    assert "failed at nowhere.invalid:443: the host's name can't be resolved" in str(run.error)


def test_an_answer_that_never_comes_names_the_timeout(bench: Bench) -> None:
    bench.world.faults.append(Fault("hang", times=None))

    run = bench.run(request_timeout=0.2, max_retries=1)

    assert isinstance(run.error, ApiError)
    host_and_port = bench.sandbox.url.removeprefix("http://")
    assert f"failed at {host_and_port}: no answer within request_timeout" in str(run.error)


def test_a_body_that_stalls_once_is_asked_for_again(bench: Bench) -> None:
    bench.world.faults.append(Fault("stall"))
    bench.world.faults.append(Fault("stall", endpoints=("many",)))

    assert bench.read(request_timeout=0.2).ids == list(bench.ledger)


def test_a_body_that_stalls_names_the_timeout(bench: Bench) -> None:
    bench.world.faults.append(Fault("stall", times=None))

    run = bench.run(request_timeout=0.2, max_retries=2)

    assert isinstance(run.error, ApiError)
    assert "the answer stalled: nothing more came within request_timeout" in str(run.error)
