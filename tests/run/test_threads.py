"""However a run ends, no thread is left behind, and no call follows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from conftest import Bench
from outcomes import Run
from waiting import wait_until

from tap_nexudus_usage.errors import ApiError, InvalidRecordError, OutputError, Terminated
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.singer.stream import EntityStream
from tap_nexudus_usage.termination import Termination

IDS = 400
SLOW = 0.02
"""Seconds that each answer takes."""


@pytest.fixture
def slow_bench(make_bench: Callable[..., Bench]) -> Bench:
    bench = make_bench(IDS, latency=SLOW)
    bench.config |= {"batch_size": 1, "max_concurrent_requests": 16, "max_retries": 2}
    return bench


def fetchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "nexudus-fetch"]


def assert_all_over(bench: Bench) -> None:
    """Threads end with the call they are in, and no call follows."""
    wait_until(lambda: not fetchers())
    calls = len(bench.world.calls)
    time.sleep(5 * SLOW)
    assert len(bench.world.calls) == calls


def fail_in_a_call(bench: Bench, _: pytest.MonkeyPatch) -> type[BaseException]:
    bench.world.faults.append(Fault(status=418, endpoints=("one",), skip=60, times=None))
    return ApiError


def fail_in_a_record(bench: Bench, _: pytest.MonkeyPatch) -> type[BaseException]:
    bench.ledger.change(list(bench.ledger)[60], CreditUsed="many")
    return InvalidRecordError


def fail_to_write(bench: Bench, patch: pytest.MonkeyPatch) -> type[BaseException]:
    def write(_: EntityStream, record: dict[str, object]) -> None:
        if record["Id"] == list(bench.ledger)[60]:
            raise OutputError

    patch.setattr(EntityStream, "_write_record_message", write)
    return OutputError


def be_terminated(bench: Bench, patch: pytest.MonkeyPatch) -> type[BaseException]:
    def raise_if_asked(_: Termination) -> None:
        if len(bench.world.calls) > 60:
            raise Terminated(15)

    patch.setattr(Termination, "raise_if_asked", raise_if_asked)
    return Terminated


@pytest.mark.parametrize("fail", [fail_in_a_call, fail_in_a_record, fail_to_write, be_terminated])
def test_a_run_that_fails_leaves_no_thread_and_makes_no_further_call(
    slow_bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[Bench, pytest.MonkeyPatch], type[BaseException]],
) -> None:
    kind = fail(slow_bench, monkeypatch)

    run: Run | None = None
    try:
        run = slow_bench.run()
        raised = run.error
    except Terminated as terminated:
        raised = terminated

    # Held on to, as a runner's handler would: its traceback keeps everything alive.
    assert isinstance(raised, kind)
    assert_all_over(slow_bench)
    assert len(slow_bench.world.calls) < IDS / 2


def test_a_run_that_ends_well_in_spite_of_faults_leaves_no_thread(slow_bench: Bench) -> None:
    slow_bench.world.faults += [
        Fault("reset", endpoints=("one",), skip=20, times=10),
        Fault(status=500, endpoints=("one",), skip=60, times=10),
        Fault("expire_token", endpoints=("one",), skip=100),
        Fault(status=409, headers={"Retry-After": "30"}, endpoints=("one",), skip=150, times=16),
        Fault("hang", endpoints=("one",), skip=200, times=3),
    ]

    run = slow_bench.read(request_timeout=0.5, max_retries=8)

    assert run.ids == list(slow_bench.ledger)
    assert_all_over(slow_bench)
