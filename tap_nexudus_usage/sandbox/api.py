"""The API's calls, as Nexudus documents them."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import Callable, Collection
from urllib.parse import parse_qs, unquote

from starlette.requests import Request
from starlette.responses import Response

from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.sandbox import responses
from tap_nexudus_usage.sandbox.allowances import LOCATIONS
from tap_nexudus_usage.sandbox.faults import Endpoint, Fault
from tap_nexudus_usage.sandbox.records import Table
from tap_nexudus_usage.sandbox.search import parse_ids, search
from tap_nexudus_usage.sandbox.tokens import ANY
from tap_nexudus_usage.sandbox.wire import hang, spoil
from tap_nexudus_usage.sandbox.world import Call, World

Answer = Callable[[], Response]


class Api:
    """The calls that concern no entity."""

    _entity: Entity | None = None

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
                return responses.json(grant, self._world.tenant.token_status)
            except PermissionError as error:
                description = "The user name or password is incorrect."
                refusal = {"error": str(error), "error_description": description}
                return responses.json(refusal, self._world.tenant.refused_login_status)

        return await self._respond(request, "token", (), answer)

    async def me(self, request: Request) -> Response:
        """Who the user is, as the oldest edition has it."""

        def answer() -> Response:
            locations = [{"Id": number, "Name": f"Location {number}"} for number in LOCATIONS]
            return responses.json({"Businesses": locations, "IsAdmin": False, "APIAccess": True})

        return await self._respond(request, "me", (), answer, role=ANY)

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
        latency = world.next_latency()
        before = 0.0 if world.counts_on_arrival else latency
        await asyncio.sleep(before)
        counted_at = world.now()
        response = self._throttled(request)
        await asyncio.sleep(latency - before)
        if response is None:
            fault = world.fault_for(endpoint, self._entity, ids)
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
                response = responses.json_of(BOM_UTF8 + bytes(response.body), response.status_code)
            if fault is not None:
                response = spoil(response, fault)
        client_id = request.headers.get("client_id")
        status = response.status_code
        call = Call(endpoint, self._entity, status, tuple(ids), client_id, counted_at)
        world.calls.append(call)
        return response

    async def _go_wrong(self, request: Request, fault: Fault) -> None:
        """Do what a fault does before there is an answer."""
        if fault.kind == "expire_token":
            self._world.tokens.expire_all()
        elif fault.kind == "hang":
            await hang(request, fault.seconds)
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
            return responses.json({"Message": f"Too many calls. Wait {seconds:.1f} seconds"}, 429)
        return None

    def _has_token(self, request: Request) -> bool:
        return self._world.tokens.is_good(request.headers.get("Authorization"))


class EntityApi(Api):
    """The calls that read an entity."""

    _entity: Entity

    def __init__(self, world: World, entity: Entity) -> None:
        """Serve the records that `world` has of `entity`."""
        super().__init__(world)
        self._entity = entity

    @property
    def _table(self) -> Table:
        return self._world.table(self._entity)

    async def get_one(self, request: Request) -> Response:
        """One record, or 404."""
        record_id: int = request.path_params["record_id"]

        def answer() -> Response:
            record = self._table.json(record_id)
            if record is None:
                return Response(status_code=404)
            return responses.json_of(self._world.tenant.shows(record))

        return await self._respond(
            request, "one", (record_id,), answer, role=self._entity.read_role
        )

    async def get_many(self, request: Request) -> Response:
        """An array of those records that exist."""
        query: str = request.scope["query_string"].decode()
        if "array" not in self._world.tenant.get_many_forms:
            return await self.search(request)
        ids, problem = self._parse_ids(query, "id")

        def answer() -> Response:
            if problem:
                return Response(status_code=problem)
            records = filter(None, map(self._table.get, ids))
            # In no order that a client could rely on.
            in_order = sorted(records, key=lambda record: str(record["UniqueId"]))
            bodies = (self._table.json(record["Id"]) or b"" for record in in_order)
            parts = (self._world.tenant.shows(body, in_array=True) for body in bodies)
            return responses.json_of(b"[" + b",".join(parts) + b"]")

        return await self._respond(
            request, "many", ids, answer, role=f"{self._entity.name}-{self._world.get_many_role}"
        )

    async def search(self, request: Request) -> Response:
        """A page of records."""
        world = self._world

        def answer() -> Response:
            if world.turmoil is not None:
                world.turmoil.happen(self._table)
            if problem:
                return Response(status_code=problem)
            try:
                found = search(self._table, request.query_params, world.tenant, self._entity)
            except ValueError as error:
                return responses.json({"Message": str(error)}, 400)
            return Response(status_code=404) if found is None else responses.json(found)

        query: str = request.scope["query_string"].decode()
        id_filter = self._entity.filter("Id")
        asks_for_ids = id_filter in request.query_params
        ids, problem = self._parse_ids(query, id_filter) if asks_for_ids else ((), 0)
        endpoint: Endpoint = "many" if asks_for_ids else "search"
        return await self._respond(request, endpoint, ids, answer, role=self._entity.list_role)

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
