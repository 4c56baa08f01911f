"""The sandbox over HTTP: the API's calls, and `/control` to steer it by."""

from __future__ import annotations

import asyncio
import socket
import struct
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tap_nexudus_usage.sandbox.faults import Endpoint, Fault
from tap_nexudus_usage.sandbox.search import ID_FILTER, parse_ids, search
from tap_nexudus_usage.sandbox.tokens import ANY, LIST, READ
from tap_nexudus_usage.sandbox.world import Call, World

ENTITY = "/api/billing/coworkerextraserviceusehistories"

Answer = Callable[[], Response]


def make_app(world: World) -> Starlette:
    """The application that serves `world`."""
    api, control = Api(world), Control(world)
    return Starlette(
        routes=[
            Route("/api/token", api.token, methods=["POST"]),
            Route(f"{ENTITY}/{{record_id:int}}", api.get_one),
            Route(f"{ENTITY}/", api.get_many),
            Route(ENTITY, api.search),
            Route("/api/auth/me", api.me),
            Route("/control/records", control.list_records),
            Route("/control/records", control.insert_record, methods=["POST"]),
            Route("/control/records/{record_id:int}", control.change_record, methods=["PATCH"]),
            Route("/control/records/{record_id:int}", control.delete_record, methods=["DELETE"]),
            Route("/control/faults", control.add_fault, methods=["POST"]),
            Route("/control/faults", control.clear_faults, methods=["DELETE"]),
            Route("/control/calls", control.count_calls),
            Route("/control/calls", control.forget_calls, methods=["DELETE"]),
            Route("/control/calls/each", control.list_calls),
        ]
    )


class Api:
    """What Nexudus documents."""

    def __init__(self, world: World) -> None:
        """Serve `world`."""
        self._world = world

    async def token(self, request: Request) -> Response:
        """Password and refresh grants; form-encoded only."""
        body = (await request.body()).decode()
        is_form = request.headers.get("Content-Type", "").startswith(
            "application/x-www-form-urlencoded"
        )
        form = {name: values[0] for name, values in parse_qs(body).items()} if is_form else {}

        def answer() -> Response:
            try:
                grant = self._world.tokens.grant(form, request.headers.get("client_id"))
                return _json(grant, self._world.tenant.token_status)
            except PermissionError as error:
                description = "The user name or password is incorrect."
                refusal = {"error": str(error), "error_description": description}
                return _json(refusal, self._world.tenant.refused_login_status)

        return await self._respond(request, "token", (), answer)

    async def me(self, request: Request) -> Response:
        """Who the user is, as the oldest edition has it."""

        def answer() -> Response:
            locations = [{"Id": number, "Name": f"Location {number}"} for number in (1, 2)]
            return _json({"Businesses": locations, "IsAdmin": False, "APIAccess": True})

        return await self._respond(request, "me", (), answer, role=ANY)

    async def get_one(self, request: Request) -> Response:
        """One record, or 404."""
        record_id: int = request.path_params["record_id"]

        def answer() -> Response:
            record = self._world.ledger.json(record_id)
            return Response(status_code=404) if record is None else _json_of(record)

        return await self._respond(request, "one", (record_id,), answer, role=READ)

    async def get_many(self, request: Request) -> Response:
        """An array of those records that exist."""
        query: str = request.scope["query_string"].decode()
        if "array" not in self._world.tenant.get_many_forms:
            return await self.search(request)
        ids, problem = self._parse_ids(query, "id")

        def answer() -> Response:
            if problem:
                return Response(status_code=problem)
            records = filter(None, map(self._world.ledger.get, ids))
            # In no order that a client could rely on.
            in_order = sorted(records, key=lambda record: str(record["UniqueId"]))
            parts = (self._world.ledger.json(record["Id"]) or b"" for record in in_order)
            return _json_of(b"[" + b",".join(parts) + b"]")

        return await self._respond(request, "many", ids, answer, role=self._world.get_many_role)

    async def search(self, request: Request) -> Response:
        """A page of records."""
        world = self._world

        def answer() -> Response:
            if world.turmoil is not None:
                world.turmoil.happen(world.ledger)
            if problem:
                return Response(status_code=problem)
            try:
                found = search(world.ledger, request.query_params, world.tenant)
            except ValueError as error:
                return _json({"Message": str(error)}, 400)
            return Response(status_code=404) if found is None else _json(found)

        query: str = request.scope["query_string"].decode()
        asks_for_ids = ID_FILTER in request.query_params
        ids, problem = self._parse_ids(query, ID_FILTER) if asks_for_ids else ((), 0)
        endpoint: Endpoint = "many" if asks_for_ids else "search"
        return await self._respond(request, endpoint, ids, answer, role=LIST)

    def _parse_ids(self, query: str, name: str) -> tuple[tuple[int, ...], int]:
        """The Ids asked for by the parameter named, and the status that refuses the query, or 0."""
        if len(query) > self._world.longest_query:
            return (), self._world.long_query_status
        if self._world.refuse_encoded_brackets and "%5B" in query.upper():
            return (), 400
        values = parse_qs(unquote(query)).get(name, [])
        try:
            return parse_ids("".join(values)), 0
        except ValueError:
            return (), 400

    async def _respond(
        self,
        request: Request,
        endpoint: Endpoint,
        ids: Collection[int],
        answer: Answer,
        *,
        role: str | None = None,
    ) -> Response:
        """Throttle, go wrong if so ordered, check the token, answer; and keep a note of it."""
        world = self._world
        await asyncio.sleep(world.latency)
        response = self._throttled(request)
        if response is None:
            fault = world.fault_for(endpoint, ids)
            if fault is not None:
                await self._go_wrong(request, fault)
            if fault is not None and fault.kind == "answer":
                response = Response(fault.body, fault.status, dict(fault.headers))
            elif role is not None and not self._has_token(request):
                response = Response(status_code=401)
            elif role is not None and role not in {ANY, *world.user.roles}:
                response = Response(status_code=world.tenant.missing_role_status)
            else:
                response = answer()
            if world.tenant.byte_order_mark and response.media_type == "application/json":
                response = _json_of(BOM_UTF8 + bytes(response.body), response.status_code)
            if fault is not None:
                response = _spoil(response, fault)
        client_id = request.headers.get("client_id")
        status = response.status_code
        world.calls.append(Call(endpoint, status, tuple(ids), client_id, world.now()))
        return response

    async def _go_wrong(self, request: Request, fault: Fault) -> None:
        """Do what a fault does before there is an answer."""
        if fault.kind == "expire_token":
            self._world.tokens.expire_all()
        elif fault.kind == "hang":
            await _hang(request, fault.seconds)
        elif fault.kind == "refuse":
            await request.scope["state"]["refuse"](fault.seconds)

    def _throttled(self, request: Request) -> Response | None:
        throttles = [self._world.throttle]
        if request.method == "POST":
            throttles.append(self._world.post_throttle)
        for throttle in throttles:
            seconds = throttle.seconds_to_wait()
            if seconds is None:
                continue
            if self._world.tenant.throttle_answer == 409:
                return Response(status_code=409, headers={"Retry-After": str(seconds)})
            return _json({"Message": f"Too many calls. Wait {seconds:.1f} seconds"}, 429)
        return None

    def _has_token(self, request: Request) -> bool:
        return self._world.tokens.is_good(request.headers.get("Authorization"))


def _spoil(response: Response, fault: Fault) -> Response:
    """The response as a fault leaves it."""
    if fault.kind in {"reset", "reset_in_body", "truncate", "stall"}:
        return BrokenResponse(response, fault)
    if fault.kind == "duplicate" and response.status_code == 200:
        content = msgspec.json.decode(bytes(response.body).removeprefix(BOM_UTF8))
        if isinstance(content, list):
            return _json(content * 2)
        if "Records" in content:
            return _json({**content, "Records": [r for r in content["Records"] for _ in range(2)]})
    return response


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
            await _hang(Request(scope, receive), self._fault.seconds)
        if self._fault.kind in {"truncate", "stall"}:
            transport.close()
            return
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()


async def _hang(request: Request, seconds: float) -> None:
    """Wait for `seconds`, or until the client has gone."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if await request.is_disconnected():
            raise ClientDisconnect
        await asyncio.sleep(0.02)


class Control:
    """Steers the sandbox; no part of Nexudus."""

    def __init__(self, world: World) -> None:
        """Steer `world`."""
        self._world = world

    async def list_records(self, _: Request) -> Response:
        """All records, as an array."""
        ledger = self._world.ledger
        return _json_of(b"[" + b",".join(ledger.json(i) or b"" for i in ledger) + b"]")

    async def insert_record(self, request: Request) -> Response:
        """Insert a record with the fields given."""
        fields = msgspec.json.decode(await request.body())
        return _json(self._world.ledger.insert(fields.pop("Id", None), **fields))

    async def change_record(self, request: Request) -> Response:
        """Change the fields given; UpdatedOn becomes now unless given."""
        record_id = request.path_params["record_id"]
        if self._world.ledger.get(record_id) is None:
            return Response(status_code=404)
        return _json(
            self._world.ledger.change(record_id, **msgspec.json.decode(await request.body()))
        )

    async def delete_record(self, request: Request) -> Response:
        """Delete a record."""
        record_id = request.path_params["record_id"]
        if self._world.ledger.get(record_id) is None:
            return Response(status_code=404)
        self._world.ledger.delete(record_id)
        return Response(status_code=204)

    async def add_fault(self, request: Request) -> Response:
        """Add a fault, with the attributes of `Fault` as JSON."""
        try:
            fault = Fault(**msgspec.json.decode(await request.body()))
        except TypeError as error:
            return _json({"Message": str(error)}, 400)
        self._world.faults.append(fault)
        return _json(asdict(fault))

    async def clear_faults(self, _: Request) -> Response:
        """Let all go well again."""
        self._world.faults.clear()
        return Response(status_code=204)

    async def count_calls(self, _: Request) -> Response:
        """The API's calls so far, by endpoint."""
        return _json(self._world.count())

    async def forget_calls(self, _: Request) -> Response:
        """Forget the calls so far, and that the throttle let them through."""
        self._world.forget_calls()
        return Response(status_code=204)

    async def list_calls(self, _: Request) -> Response:
        """The API's calls so far, one by one."""
        calls = self._world.calls
        return _json([{"endpoint": c.endpoint, "status": c.status, "time": c.time} for c in calls])


def _json(content: Any, status: int = 200) -> Response:
    return _json_of(msgspec.json.encode(content), status)


def _json_of(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
