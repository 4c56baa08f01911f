"""The sandbox over HTTP: the API's calls, and `/control` to steer it by."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route

from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.sandbox.api import Api, EntityApi
from tap_nexudus_usage.sandbox.control import Control, EntityControl
from tap_nexudus_usage.sandbox.world import World


def make_app(world: World) -> Starlette:
    """The application that serves `world`."""
    api, control = Api(world), Control(world)
    return Starlette(
        routes=[
            Route("/api/token", api.token, methods=["POST"]),
            Route("/api/auth/me", api.me),
            Route("/control/faults", control.add_fault, methods=["POST"]),
            Route("/control/faults", control.clear_faults, methods=["DELETE"]),
            Route("/control/calls", control.count_calls),
            Route("/control/calls", control.forget_calls, methods=["DELETE"]),
            Route("/control/calls/each", control.list_calls),
            *(route for entity in world.entities for route in _entity_routes(world, entity)),
        ]
    )


def _entity_routes(world: World, entity: Entity) -> list[Route]:
    api, control = EntityApi(world, entity), EntityControl(world, entity)
    records = f"/control/{entity.stream}/records"
    record = f"{records}/{{record_id:int}}"
    return [
        Route(f"{entity.path}/{{record_id:int}}", api.get_one),
        Route(f"{entity.path}/", api.get_many),
        Route(entity.path, api.search),
        Route(records, control.list_records),
        Route(records, control.insert_record, methods=["POST"]),
        Route(records, control.change_all, methods=["PATCH"]),
        Route(record, control.change_record, methods=["PATCH"]),
        Route(record, control.delete_record, methods=["DELETE"]),
    ]
