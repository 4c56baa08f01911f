"""A TCP server in front of the sandbox that treats connections as no sandbox would."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from typing_extensions import Self

TIMEOUT = 10.0
"""Seconds, after which nothing here waits any longer."""

Treatment = Callable[[socket.socket], None]
"""What is done with a connection, which is closed afterwards."""


class Front:
    """Treats the connections that come, the first ones first; the last treatment stays."""

    def __init__(self, *treatments: Treatment) -> None:
        self._treatments = list(treatments)
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.connections = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes the thread that accepts, which closing alone doesn't.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(TIMEOUT)
        # urllib3 closes its own when it is collected as garbage.
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            treatment = self._treatments[min(self.connections, len(self._treatments) - 1)]
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._treat, args=(treatment, connection))
            self._threads.append(thread)
            thread.start()

    @staticmethod
    def _treat(treatment: Treatment, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT)
        with connection, contextlib.suppress(OSError):
            treatment(connection)


def close(connection: socket.socket) -> None:
    """Close it when something has come; of TLS that is the first message of the handshake."""
    connection.recv(65_536)


def reply(answer: bytes) -> Treatment:
    """Send these bytes when something has come."""

    def treat(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    return treat


def be_silent(connection: socket.socket) -> None:
    """Take what comes and answer nothing, until the other side has had enough."""
    while connection.recv(65_536):
        pass


def say(answer: bytes) -> Treatment:
    """Answer one request of HTTP with just these bytes."""

    def treat(connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65_536)
        head, _, body = request.partition(b"\r\n\r\n")
        for line in head.lower().splitlines():
            name, _, value = line.partition(b":")
            while name == b"content-length" and len(body) < int(value):
                body += connection.recv(65_536)
        connection.sendall(answer)

    return treat


def forward(url: str) -> Treatment:
    """Pass everything on to the sandbox at `url`, and back."""

    def treat(connection: socket.socket) -> None:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), TIMEOUT) as there:
            back = threading.Thread(target=_pump, args=(there, connection))
            back.start()
            _pump(connection, there)
            back.join(TIMEOUT)

    return treat


def tunnel(url: str) -> Treatment:
    """A proxy's CONNECT, which leads to the sandbox at `url` whatever is asked for."""

    def treat(connection: socket.socket) -> None:
        say(b"HTTP/1.1 200 Connection established\r\n\r\n")(connection)
        forward(url)(connection)

    return treat


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until either side has had enough."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65_536):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
