"""Calls to a bench's sandbox, as a client of the API makes them."""

from __future__ import annotations

import requests
from conftest import Bench

from tap_nexudus_usage.nexudus.session import ApiSession


def token_of(bench: Bench, **form: str) -> requests.Response:
    user = bench.world.user
    login = {"grant_type": "password", "username": user.username, "password": user.password}
    return requests.post(f"{bench.sandbox.url}/api/token", data={**login, **form}, timeout=10)


def get(bench: Bench, path: str, token: str | None = None) -> requests.Response:
    token = token or token_of(bench).json()["access_token"]
    session = ApiSession(
        lambda *_, **__: None, lambda: None, user_agent="test", timeout=10, settings={}
    )
    request = requests.Request(
        "GET", bench.sandbox.url + path, headers={"Authorization": f"Bearer {token}"}
    )
    return session.send(session.prepare_request(request))
