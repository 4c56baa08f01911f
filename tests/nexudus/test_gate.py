"""Each request passes the gate when its connection is there, just before it is written."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from front import TIMEOUT, Front

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


def get(session: ApiSession, front: Front) -> requests.Response:
    request = requests.Request("GET", f"http://127.0.0.1:{front.port}/")
    return session.send(session.prepare_request(request))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_gate_is_passed_when_the_connection_is_there_and_nothing_written(
    server: Server, front: Front
) -> None:
    passed: list[tuple[str, int]] = []

    def gate(method: str) -> None:
        until(lambda: front.connections)
        passed.append((method, len(server.came)))

    with ApiSession(gate, user_agent="test", timeout=TIMEOUT, settings={}) as session:
        assert get(session, front).status_code == 200

    assert passed == [("GET", 0)]


def test_what_is_waited_at_the_gate_is_known(front: Front) -> None:
    def gate(_: str) -> None:
        time.sleep(0.05)

    with ApiSession(gate, user_agent="test", timeout=TIMEOUT, settings={}) as session:
        answer = get(session, front)

    assert session.waited >= 0.05
    assert answer.elapsed.total_seconds() >= session.waited


def test_a_connection_closed_at_the_gate_is_opened_anew_and_waits_again(
    server: Server, front: Front
) -> None:
    passed = 0

    def gate(_: str) -> None:
        nonlocal passed
        passed += 1
        if passed == 2:
            server.may_close.set()
            until(server.has_closed.is_set)

    with ApiSession(gate, user_agent="test", timeout=TIMEOUT, settings={}) as session:
        assert get(session, front).status_code == 200
        assert get(session, front).status_code == 200

    assert passed == 3
    assert front.connections == 2


def test_a_gate_that_raises_leaves_nothing_written(server: Server, front: Front) -> None:
    class ClosedError(Exception):
        pass

    def gate(_: str) -> None:
        raise ClosedError

    with (
        ApiSession(gate, user_agent="test", timeout=TIMEOUT, settings={}) as session,
        pytest.raises(ClosedError),
    ):
        get(session, front)

    until(lambda: server.came)
    assert server.came == [b""]
