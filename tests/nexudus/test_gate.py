"""Each request passes the gate when its connection is there, just before it is written."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator

import pytest
import requests
import trustme
from conftest import Bench
from front import TIMEOUT, Front, Treatment, forward
from waiting import wait_until

from tap_nexudus_usage.nexudus.session import ApiSession

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """Answers one request on each connection, then closes it when told to."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.may_close = threading.Event()
        self.has_closed = threading.Event()

    def treat(self, connection: socket.socket) -> None:
        self.came.append(connection.recv(65_536))
        connection.sendall(ANSWER)
        self.may_close.wait(TIMEOUT)
        connection.shutdown(socket.SHUT_RDWR)
        self.has_closed.set()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def front(server: Server) -> Iterator[Front]:
    with Front(server.treat) as front:
        yield front
        server.may_close.set()


def nothing() -> None:
    """For who isn't interested in when a request is written."""


def get(session: ApiSession, front: Front, scheme: str = "http") -> requests.Response:
    request = requests.Request("GET", f"{scheme}://127.0.0.1:{front.port}/")
    return session.send(session.prepare_request(request))


def test_the_gate_is_passed_when_the_connection_is_there_and_nothing_written(
    server: Server, front: Front
) -> None:
    passed: list[tuple[str, int, bool]] = []

    def gate(method: str, /, *, again: bool) -> None:
        wait_until(lambda: front.connections)
        passed.append((method, len(server.came), again))

    with ApiSession(gate, nothing, user_agent="test", timeout=TIMEOUT, settings={}) as session:
        assert get(session, front).status_code == 200

    assert passed == [("GET", 0, False)]


def test_a_request_is_called_written_when_it_is_and_has_passed_the_gate(
    server: Server, front: Front
) -> None:
    passed: list[str] = []
    written: list[tuple[int, bool]] = []

    def gate(method: str, /, **_: bool) -> None:
        passed.append(method)

    def take_note() -> None:
        # Nobody reads on before the other side has it.
        wait_until(lambda: server.came)
        written.append((len(passed), server.came[0].endswith(b"\r\n\r\n")))

    with ApiSession(gate, take_note, user_agent="test", timeout=TIMEOUT, settings={}) as session:
        assert get(session, front).status_code == 200

    assert written == [(1, True)]


def test_what_is_waited_at_the_gate_is_known(front: Front) -> None:
    def gate(*_: str, **__: bool) -> None:
        time.sleep(0.05)

    with ApiSession(gate, nothing, user_agent="test", timeout=TIMEOUT, settings={}) as session:
        answer = get(session, front)

    assert session.waited >= 0.05
    assert answer.elapsed.total_seconds() >= session.waited


def test_a_connection_closed_at_the_gate_is_opened_anew_and_waits_again(
    server: Server, front: Front
) -> None:
    passed: list[bool] = []

    def gate(_: str, /, *, again: bool) -> None:
        passed.append(again)
        time.sleep(0.05)
        if len(passed) == 2:
            server.may_close.set()
            wait_until(server.has_closed.is_set)

    with ApiSession(gate, nothing, user_agent="test", timeout=TIMEOUT, settings={}) as session:
        assert get(session, front).status_code == 200
        assert get(session, front).status_code == 200

    assert passed == [False, False, True]
    assert front.connections == 2
    assert session.waited >= 2 * 0.05


def test_one_just_opened_that_is_closed_at_the_gate_is_opened_anew(server: Server) -> None:
    has_closed = threading.Event()

    def close_at_once(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RDWR)
        has_closed.set()

    def gate(*_: str, **__: bool) -> None:
        wait_until(has_closed.is_set)

    with (
        Front(close_at_once, server.treat) as front,
        ApiSession(gate, nothing, user_agent="test", timeout=TIMEOUT, settings={}) as session,
    ):
        assert get(session, front).status_code == 200
        server.may_close.set()

    assert front.connections == 2


def over_tls(authority: trustme.CA, treat: Treatment) -> Treatment:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def treat_over_tls(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            treat(encrypted)

    return treat_over_tls


@pytest.fixture
def authority() -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path("authority.pem")
    return authority


def test_what_tls_sends_unasked_is_no_end_of_a_connection(
    authority: trustme.CA, server: Server
) -> None:
    passed = 0

    def gate(*_: str, **__: bool) -> None:
        nonlocal passed
        passed += 1
        # Until the tickets have come.
        time.sleep(0.05)

    with (
        Front(over_tls(authority, server.treat)) as front,
        ApiSession(
            gate, nothing, user_agent="test", timeout=TIMEOUT, settings={"verify": "authority.pem"}
        ) as session,
    ):
        assert get(session, front, "https").status_code == 200
        server.may_close.set()

    assert passed == 1
    assert front.connections == 1


def test_a_reset_while_it_is_opened_anew_is_told_as_such(authority: trustme.CA) -> None:
    has_closed = threading.Event()

    def close(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RDWR)
        has_closed.set()

    def reset(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def gate(*_: str, **__: bool) -> None:
        wait_until(has_closed.is_set)

    with (
        Front(over_tls(authority, close), reset) as front,
        ApiSession(
            gate, nothing, user_agent="test", timeout=TIMEOUT, settings={"verify": "authority.pem"}
        ) as session,
        pytest.raises(requests.ConnectionError, match="reset by peer"),
    ):
        get(session, front, "https")


def impatient(url: str) -> Treatment:
    """Passes on to the sandbox at `url`, but closes what is silent for a moment."""

    def treat(connection: socket.socket) -> None:
        connection.settimeout(0.03)
        forward(url)(connection)

    return treat


def test_a_server_that_closes_sooner_than_a_place_is_free_is_read_all_the_same(
    bench: Bench,
) -> None:
    ids = list(bench.ledger)[:3]

    with Front(impatient(bench.sandbox.url)) as front:
        run = bench.read(
            api_url=f"http://127.0.0.1:{front.port}",
            record_ids=ids,
            batch_size=1,
            # In the tap's time a minute is 0.06 seconds.
            requests_per_minute=1,
        )

    assert run.ids == ids


def test_a_gate_that_raises_leaves_nothing_written(server: Server, front: Front) -> None:
    class ClosedError(Exception):
        pass

    def gate(*_: str, **__: bool) -> None:
        raise ClosedError

    with (
        ApiSession(gate, nothing, user_agent="test", timeout=TIMEOUT, settings={}) as session,
        pytest.raises(ClosedError),
    ):
        get(session, front)

    wait_until(lambda: server.came)
    assert server.came == [b""]
