"""`/control`, by which the sandbox is steered; no part of Nexudus."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import get_args

from starlette.requests import Request
from starlette.responses import Response

from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.sandbox import literals, responses
from tap_nexudus_usage.sandbox.faults import Endpoint, Fault, Kind
from tap_nexudus_usage.sandbox.records import Table
from tap_nexudus_usage.sandbox.world import World


class Control:
    """Steers what is no entity's; no part of Nexudus."""

    def __init__(self, world: World) -> None:
        """Steer `world`."""
        self._world = world

    async def add_fault(self, request: Request) -> Response:
        """Add a fault, with the attributes of `Fault` as JSON."""
        try:
            fault = Fault(**literals.decode(await request.body()))
        except TypeError as error:
            return responses.json({"Message": str(error)}, 400)
        for said, known in (
            (fault.endpoints, get_args(Endpoint)),
            ([fault.kind], get_args(Kind)),
        ):
            if unknown := {*said}.difference(known):
                message = f"Unknown: {', '.join(unknown)}; there are {', '.join(known)}"
                return responses.json({"Message": message}, 400)
        self._world.faults.append(fault)
        return responses.json(asdict(fault))

    async def clear_faults(self, _: Request) -> Response:
        """Let all go well again."""
        self._world.faults.clear()
        return Response(status_code=204)

    async def count_calls(self, _: Request) -> Response:
        """The API's calls so far, by endpoint, and all connections, those for this among them."""
        return responses.json({**self._world.count(), "connections": self._world.connections})

    async def forget_calls(self, _: Request) -> Response:
        """Forget calls and connections so far, and that the throttle let them through."""
        self._world.forget_calls()
        return Response(status_code=204)

    async def list_calls(self, _: Request) -> Response:
        """The API's calls so far, one by one; null is the stream of those for no entity."""
        return responses.json(
            [
                {
                    "endpoint": call.endpoint,
                    "stream": call.entity and call.entity.stream,
                    "status": call.status,
                    "time": call.time,
                }
                for call in self._world.calls
            ]
        )


class EntityControl:
    """Steers an entity's records."""

    def __init__(self, world: World, entity: Entity) -> None:
        """Steer what `world` has of `entity`."""
        self._world = world
        self._entity = entity

    @property
    def _table(self) -> Table:
        return self._world.table(self._entity)

    async def list_records(self, _: Request) -> Response:
        """All records, as an array."""
        table = self._table
        return responses.json_of(b"[" + b",".join(table.json(i) or b"" for i in table) + b"]")

    async def insert_record(self, request: Request) -> Response:
        """Insert a record with the fields given."""
        fields = literals.decode(await request.body())
        return responses.json(self._table.insert(fields.pop("Id", None), **fields))

    async def change_record(self, request: Request) -> Response:
        """Change the fields given; UpdatedOn becomes now unless given."""
        record_id = request.path_params["record_id"]
        if self._table.get(record_id) is None:
            return Response(status_code=404)
        fields = literals.decode(await request.body())
        return responses.json(self._table.change(record_id, **fields))

    async def change_all(self, request: Request) -> Response:
        """Stamp all records anew, at random within the last `seconds`."""
        try:
            span = timedelta(**literals.decode(await request.body()))
        except TypeError as error:
            return responses.json({"Message": str(error)}, 400)
        self._table.change_all(span)
        return Response(status_code=204)

    async def delete_record(self, request: Request) -> Response:
        """Delete a record."""
        record_id = request.path_params["record_id"]
        if self._table.get(record_id) is None:
            return Response(status_code=404)
        self._table.delete(record_id)
        return Response(status_code=204)
