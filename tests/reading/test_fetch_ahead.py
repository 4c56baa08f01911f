"""Fetching ahead: in order, as many calls at once as there are threads, none farther than fits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tap_nexudus_usage.reading.fetch_ahead import fetch_ahead

THREADS = 4


def test_results_come_in_order_and_no_more_is_fetched_than_fits() -> None:
    started: list[int] = []

    def call(number: int) -> int:
        started.append(number)
        time.sleep(0.001 * (number % 3))
        return number

    def calls() -> Iterator[Callable[[], int]]:
        for number in range(200):
            yield lambda number=number: call(number)  # type: ignore[misc]

    got = []
    for number in fetch_ahead(calls(), threads=THREADS, on_poll=lambda: None):
        got.append(number)
        assert len(started) <= len(got) + 2 * THREADS

    assert got == list(range(200))
    assert "nexudus-fetch" not in {thread.name for thread in threading.enumerate()}


def test_as_many_calls_as_threads_run_at_once_and_no_more() -> None:
    # Each call waits until so many run, and again until all of them have counted.
    together = threading.Barrier(THREADS)
    running: list[int] = []

    def call() -> int:
        running.append(1)
        together.wait(60)
        at_once = len(running)
        together.wait(60)
        running.pop()
        return at_once

    at_once = list(fetch_ahead([call] * 40, threads=THREADS, on_poll=lambda: None))

    assert at_once == [THREADS] * 40


def test_a_failed_call_is_raised_while_an_earlier_one_still_runs() -> None:
    never = threading.Event()

    def calls() -> Iterator[Callable[[], int]]:
        yield lambda: int(never.wait(60))
        yield lambda: 1 // 0

    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        next(fetch_ahead(calls(), threads=2, on_poll=lambda: None))

    assert time.monotonic() - begin < 30
    never.set()
