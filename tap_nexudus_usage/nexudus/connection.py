"""Puts the parts of a client together for one run, and ends them with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tap_nexudus_usage.clock import Clock
from tap_nexudus_usage.nexudus.auth import Credentials, TokenAuth
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.environment import environment_of
from tap_nexudus_usage.nexudus.pace import Pace
from tap_nexudus_usage.nexudus.session import ApiSession
from tap_nexudus_usage.nexudus.throttle import Throttle
from tap_nexudus_usage.nexudus.transport import OnAnswer, Tally, Transport
from tap_nexudus_usage.redaction import Redactor


@dataclass(frozen=True)
class ConnectionOptions:
    """How to reach the API: names, meanings and units are the settings'."""

    credentials: Credentials
    api_url: str
    user_agent: str
    requests_per_minute: int
    request_timeout: float
    max_retries: int
    max_throttle_wait: float


@dataclass(frozen=True)
class Connection:
    """What a run reads with, and what tells how it goes."""

    auth: TokenAuth
    tally: Tally
    throttle: Throttle
    redactor: Redactor
    client: Callable[[Entity], NexudusClient]
    """A client for an entity."""


@contextmanager
def connect(
    options: ConnectionOptions,
    *,
    clock_speed: float,
    redactor: Redactor,
    on_answer: OnAnswer,
    on_rotated: Callable[[str], None] | None = None,
) -> Iterator[Connection]:
    """A connection; when it is left no thread waits any longer or begins another call.

    `on_rotated` is told of the refresh token that takes the place of the one configured.

    Raises SettingsError where what the environment says of the way to the API can't be used.
    """
    clock = Clock(clock_speed)
    throttle = Throttle(clock, Pace(options.requests_per_minute))
    environment = environment_of(options.api_url)
    redactor.add(environment.proxy_password)
    transport = Transport(
        clock=clock,
        throttle=throttle,
        redactor=redactor,
        new_session=partial(
            ApiSession,
            user_agent=options.user_agent,
            timeout=options.request_timeout,
            settings=environment.settings,
            proxy=environment.proxy,
        ),
        max_retries=options.max_retries,
        max_throttle_wait=options.max_throttle_wait,
        on_answer=on_answer,
    )
    auth = TokenAuth(
        options.credentials,
        api_url=options.api_url,
        transport=transport,
        clock=clock,
        on_rotated=on_rotated,
    )
    try:
        client = partial(NexudusClient, options.api_url, transport, auth)
        yield Connection(auth, transport.tally, throttle, redactor, client)
    finally:
        clock.stop()
        transport.close()
