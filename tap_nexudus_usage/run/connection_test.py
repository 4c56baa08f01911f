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
        if not further:
            # All is about this one.
            yield from main.begin()
            yield from main.go_on()
        else:
            yield from _told(main.stream, main.begin(), failures)
            for test in further:
                yield from _told(test.stream, test.lines(main.records), failures)
            if main.stream not in failures:
                yield from _told(main.stream, main.go_on(), failures)
        if main.stream not in failures:
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
        is_needed = bool(settings.record_ids) and main.stream in failures
        does_without = len(failures) < len(entities) and not is_needed
        raise StreamsFailedError(failures, dispensable=failures if does_without else ())


def _told(stream: str, lines: Iterable[str], failures: dict[str, TapError]) -> Iterator[str]:
    """Each line says which stream it is about; what ends them is put among the `failures`."""
    try:
        for line in lines:
            name, _, text = line.partition(": ")
            yield f"{name} of {stream}: {text}"
    except (AccessError, ApiError) as error:
        failures[stream] = error
