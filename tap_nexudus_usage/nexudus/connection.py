"""Puts the parts of a client together for one run, and ends them with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tap_nexudus_usage.clock import Clock
from tap_nexudus_usage.nexudus.auth import TokenAuth
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.session import ApiSession, environment_of
from tap_nexudus_usage.nexudus.throttle import Throttle
from tap_nexudus_usage.nexudus.transport import OnAnswer, Tally, Transport
from tap_nexudus_usage.redaction import Redactor
from tap_nexudus_usage.settings import Settings


@dataclass(frozen=True)
class Connection:
    """What a run reads with, and what tells how it goes."""

    auth: TokenAuth
    tally: Tally
    throttle: Throttle
    client: Callable[[Entity], NexudusClient]
    """A client for an entity."""


@contextmanager
def connect(
    settings: Settings, *, clock_speed: float, redactor: Redactor, on_answer: OnAnswer
) -> Iterator[Connection]:
    """A connection; when it is left no thread waits any longer or begins another call.

    Raises SettingsError where what the environment says of the way to the API can't be used.
    """
    clock = Clock(clock_speed)
    throttle = Throttle(clock, settings.requests_per_minute)
    environment = environment_of(settings.api_url)
    redactor.add(environment.proxy_password)
    transport = Transport(
        clock=clock,
        throttle=throttle,
        redactor=redactor,
        new_session=partial(
            ApiSession,
            user_agent=settings.user_agent,
            timeout=settings.request_timeout,
            settings=environment.settings,
            proxy=environment.proxy,
        ),
        max_retries=settings.max_retries,
        max_throttle_wait=settings.max_throttle_wait,
        on_answer=on_answer,
    )
    auth = TokenAuth(
        settings.credentials, api_url=settings.api_url, transport=transport, clock=clock
    )
    try:
        client = partial(NexudusClient, settings.api_url, transport, auth)
        yield Connection(auth, transport.tally, throttle, client)
    finally:
        clock.stop()
        transport.close()
