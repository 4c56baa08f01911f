"""JSON as the sandbox answers it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from tap_nexudus_usage.sandbox import literals


def json(content: Any, status: int = 200) -> Response:
    """An answer of `content`."""
    return json_of(literals.encode(content), status)


def json_of(body: bytes, status: int = 200) -> Response:
    """An answer of a body that is JSON already."""
    return Response(body, status, media_type="application/json")
