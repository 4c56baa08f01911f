"""What `--test` asks: what works, and what this tenant is like, a line each, in a few calls."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from tap_nexudus_usage.errors import (
    AccessError,
    ApiError,
    SpentError,
    StreamsFailedError,
    TapError,
)
from tap_nexudus_usage.nexudus.connection import Connection
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.pages import Record
from tap_nexudus_usage.run.further_test import FurtherTest
from tap_nexudus_usage.run.tenant_test import TenantTest
from tap_nexudus_usage.settings.checked import Settings

MOST_CALLS = 15


def check(connection: Connection, settings: Settings, entities: Sequence[Entity]) -> Iterator[str]:
    """Yield in words what works and what the tenant is like, one thing after the other.

    `entities` are those to be read, in this order; what a tenant is like is asked of the first, and
    of the others what a run of theirs depends on. Raises LoginError, AccessError, ApiError and
    ThrottledError, where a run could not work, StreamsFailedError where a part of it couldn't.
    """
    connection.tally.most = MOST_CALLS
    connection.redactor.shows_records = False
    main = TenantTest(connection, settings, entities[0])
    further = [FurtherTest(connection.client(e), settings, e) for e in entities[1:]]
    failures: dict[str, TapError] = {}
    try:
        started = time.monotonic()
        yield from main.log_in()
        # Where one is tested only, all is about it.
        of_main = f" of {entities[0].stream}" if further else ""
        yield from _named(of_main, main.begin())
        for test in further:
            lines = _told(test, main.records, failures)
            yield from _named(f" of {test.stream}", lines)
        yield from _named(of_main, main.go_on())
        seconds = time.monotonic() - started
        yield from main.sum_up(seconds, sum(test.calls_of_first_run() for test in further))
    except SpentError:
        tally = connection.tally
        message = (
            f"The test has made its {MOST_CALLS} calls, {tally.retries} of them tried again and "
            f"{tally.throttled} throttled, before it knew whether a run can work. Try again later"
        )
        raise ApiError(message) from None
    if failures:
        raise StreamsFailedError(failures, dispensable=failures)


def _told(
    test: FurtherTest, naming: Sequence[Record], failures: dict[str, TapError]
) -> Iterator[str]:
    try:
        yield from test.lines(naming)
    except (AccessError, ApiError) as error:
        failures[test.stream] = error


def _named(of_stream: str, lines: Iterable[str]) -> Iterator[str]:
    """Each line says which stream it is about."""
    for line in lines:
        name, _, text = line.partition(": ")
        yield f"{name}{of_stream}: {text}"
