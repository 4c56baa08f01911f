"""What a fault does on the wire: to a connection, or to an answer on its way."""

from __future__ import annotations

import asyncio
import socket
import struct
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tap_nexudus_usage.sandbox import literals, responses
from tap_nexudus_usage.sandbox.faults import Fault


def spoil(response: Response, fault: Fault) -> Response:
    """The response as a fault leaves it."""
    if fault.kind in {"reset", "reset_in_body", "truncate", "stall"}:
        return BrokenResponse(response, fault)
    if fault.kind == "omit" and response.status_code == 200:
        return _omit_one(response, is_uncounted=fault.uncounted)
    if fault.kind == "duplicate" and response.status_code == 200:
        content = literals.decode(bytes(response.body).removeprefix(BOM_UTF8))
        if isinstance(content, list):
            return responses.json(content * 2)
        if "Records" in content:
            return responses.json(
                {**content, "Records": [r for r in content["Records"] for _ in range(2)]}
            )
    return response


def _omit_one(response: Response, *, is_uncounted: bool) -> Response:
    """A page of the search without its third record."""
    content = literals.decode(bytes(response.body).removeprefix(BOM_UTF8))
    if not isinstance(content, dict) or len(content.get("Records", ())) <= 2:
        return response
    records = [*content["Records"][:2], *content["Records"][3:]]
    total = content["TotalItems"] - is_uncounted
    return responses.json({**content, "Records": records, "TotalItems": total})


class BrokenResponse(Response):
    """A response whose connection ends too early."""

    def __init__(self, whole: Response, fault: Fault) -> None:
        """Send the beginning of `whole` only, or nothing of it."""
        super().__init__(whole.body, whole.status_code, dict(whole.headers))
        self._fault = fault

    async def __call__(
        self, scope: Any, receive: Any, send: Callable[..., Awaitable[None]]
    ) -> None:
        """Send what the fault lets through, then end the connection."""
        transport = scope["state"]["transport"]
        if self._fault.kind != "reset":
            start = {"type": "http.response.start", "status": self.status_code}
            await send({**start, "headers": self.raw_headers})
            half = bytes(self.body)[: len(self.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
        if self._fault.kind == "stall":
            await hang(Request(scope, receive), self._fault.seconds)
        if self._fault.kind in {"truncate", "stall"}:
            transport.close()
            return
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()


async def hang(request: Request, seconds: float) -> None:
    """Wait for `seconds`, or until the client has gone."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if await request.is_disconnected():
            raise ClientDisconnect
        await asyncio.sleep(0.02)
