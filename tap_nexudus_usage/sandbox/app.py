"""The sandbox over HTTP: the API's calls, and `/control` to steer it by."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route

from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.sandbox.api import Api, EntityApi
from tap_nexudus_usage.sandbox.control import Control
from tap_nexudus_usage.sandbox.world import World


def make_app(world: World) -> Starlette:
    """The application that serves `world`."""
    api, control = Api(world), Control(world)
    entities = [(entity.path, EntityApi(world, entity)) for entity in (LEDGER, *world.others)]
    return Starlette(
        routes=[
            Route("/api/token", api.token, methods=["POST"]),
            *(Route(f"{path}/{{record_id:int}}", entity.get_one) for path, entity in entities),
            *(Route(f"{path}/", entity.get_many) for path, entity in entities),
            *(Route(path, entity.search) for path, entity in entities),
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
