"""Runs the sandbox on a loopback port, in a thread of this process or as the process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from asyncio.trsock import TransportSocket
from functools import partial
from types import TracebackType
from weakref import WeakKeyDictionary

import uvicorn
from typing_extensions import Self
from uvicorn.protocols.http.h11_impl import H11Protocol

from tap_nexudus_usage.sandbox.app import make_app
from tap_nexudus_usage.sandbox.world import World

HOST = "127.0.0.1"


class _Protocol(H11Protocol):
    """Counts the connection, and hands it to the application, which may have to break it."""

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.app_state["world"].connections += 1
        # Over TLS, a transport forgets its socket as it closes.
        connection = self.transport.get_extra_info("socket")
        self.app_state["connections"][transport] = connection
        self.app_state = {**self.app_state, "transport": transport}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if exc is not None:
            # One that the client reset is left open by uvicorn, and by Python 3.10's TLS.
            self.transport.close()


class _Server(uvicorn.Server):
    """Ends at once, where uvicorn takes its time: a fifth of a second for every test."""

    def __init__(self, config: uvicorn.Config, world: World) -> None:
        super().__init__(config)
        self._world = world

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._connections: WeakKeyDictionary[asyncio.Transport, TransportSocket] = (
            WeakKeyDictionary()
        )
        self.lifespan.state.update(
            world=self._world, refuse=self.refuse, connections=self._connections
        )
        await super().startup(sockets)

    async def refuse(self, seconds: float) -> None:
        """Refuse connections for a while, having ended all there are."""
        (server,) = self.servers
        address = server.sockets[0].getsockname()
        await self._stop_listening()
        self._end_connections()
        await asyncio.sleep(seconds)
        protocol = partial(
            _Protocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        if not self.should_exit:
            loop = asyncio.get_running_loop()
            self.servers = [await loop.create_server(protocol, *address, ssl=self.config.ssl)]

    async def main_loop(self) -> None:
        while not self.should_exit:  # noqa: ASYNC110 - a signal handler sets it
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stop_listening()
        for listener in sockets or []:
            listener.close()
        # asyncio takes some rounds to begin a connection just accepted, and to close its socket.
        for _ in range(5):
            self._end_connections()
            await asyncio.sleep(0)
        while self._end_connections():  # noqa: ASYNC110 - asyncio tells of a closed socket nowhere
            await asyncio.sleep(0.001)

    async def _stop_listening(self) -> None:
        """Close the listeners, once the connections just accepted have begun.

        asyncio's `close` would leave those open: it fails to make a transport of a closed server.
        """
        for server in self.servers:
            for listener in server.sockets:
                asyncio.get_running_loop().remove_reader(listener)
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()

    def _end_connections(self) -> bool:
        """End all connections; whether any is left whose socket is still open."""
        still_open = [
            transport
            for transport, connection in list(self._connections.items())
            if connection.fileno() >= 0
        ]
        # asyncio fails to abort one that has closed after sending the rest of its answer.
        for transport in still_open:
            transport.abort()
        return bool(still_open)


class Sandbox:
    """A world, served while the context is entered; `url` is its address."""

    def __init__(self, world: World, port: int = 0, *, certificate: str | None = None) -> None:
        """Bind the port, 0 for any that is free; raises OSError, also for the certificate.

        `certificate` is the path of a PEM file with key and certificate, for https.
        """
        self.world = world
        config = uvicorn.Config(
            make_app(world),
            http=_Protocol,
            ssl_certfile=certificate,
            lifespan="off",
            # Broken connections, which are its business here, would fill the log.
            log_config=None,
            log_level="critical",
            access_log=False,
        )
        # What can't be used fails here, not in the thread, for whose server it would wait for ever.
        config.load()
        # With the protocol named, asyncio sees that it is TCP and switches Nagle's delays off.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, port))
        # Calls that come before the server runs have to wait, not to fail.
        self._socket.listen(128)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://{HOST}:{self._socket.getsockname()[1]}"
        self._server = _Server(config, world)
        self._thread = threading.Thread(target=self._serve, name="nexudus-sandbox", daemon=True)

    def serve(self, seconds: float) -> None:
        """Serve in this thread until a signal comes or `seconds` have passed."""
        timer = threading.Timer(seconds, self._stop)
        timer.daemon = True
        timer.start()
        self._serve()
        timer.cancel()

    def __enter__(self) -> Self:
        """Serve in a thread."""
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop serving, calls that hang included."""
        self._stop()
        self._thread.join()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def _stop(self) -> None:
        self._server.should_exit = True
