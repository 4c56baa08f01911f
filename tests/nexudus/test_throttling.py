"""Pace and patience: the published limits are kept, throttling is waited out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
from conftest import Bench, FastTap
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from outcomes import STREAM

from tap_nexudus_usage.clock import Clock
from tap_nexudus_usage.errors import ApiError, StoppedError, ThrottledError
from tap_nexudus_usage.nexudus.pace import Pace
from tap_nexudus_usage.nexudus.reactions import retry_after
from tap_nexudus_usage.nexudus.spacing import Spacing
from tap_nexudus_usage.nexudus.throttle import Throttle
from tap_nexudus_usage.sandbox.faults import Fault


class TenfoldTap(FastTap):
    """The tap at a tenth of the throttle's time scale."""

    clock_speed = 10.0


class FourfoldTap(FastTap):
    """The tap at a quarter of the throttle's time scale."""

    clock_speed = 4.0


@pytest.fixture
def throttled_bench(make_bench: Callable[..., Bench]) -> Bench:
    bench = make_bench(300, throttled=True, time_scale=0.1)
    bench.tap_class = TenfoldTap
    return bench


@pytest.fixture
def sandbox_process() -> Iterator[str]:
    """The address of a sandbox whose threads don't compete with the tap's."""
    command = [Path(sys.executable).parent / "nexudus-sandbox", "--stop-after", "240"]
    command += ["--records", "150", "--time-scale", "0.25"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()


def test_one_call_per_id_stays_within_the_published_limits(
    sandbox_process: str, bench: Bench
) -> None:
    bench.tap_class = FourfoldTap
    records = requests.get(f"{sandbox_process}/control/{STREAM}/records", timeout=10).json()
    ids = [record["Id"] for record in records]

    run = bench.read(api_url=sandbox_process, record_ids=ids, batch_size=1, requests_per_minute=120)

    # More than the 120 of a minute.
    assert len(ids) == 150
    assert run.ids == ids
    counted = requests.get(f"{sandbox_process}/control/calls", timeout=10).json()
    assert counted["one"] >= 150
    # A busy machine delays some calls by more than the pace's margin, so that the next one comes
    # too soon after them. Without a pace, three of four calls are throttled.
    assert counted["throttled"] < 0.1 * counted["all"]


def test_the_pace_is_told_of_each_call_when_it_is_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []
    monkeypatch.setattr(Spacing, "written", lambda _, now: written.append(now))

    bench.read(batch_size=1, requests_per_minute=120)

    assert len(written) == len(bench.world.calls) > len(bench.ledger)


def test_everything_comes_with_pacing_off(throttled_bench: Bench) -> None:
    bench = throttled_bench

    ids = list(bench.ledger)[:20]

    # So many at once that some come within 10 ms of each other on a slow machine, too.
    run = bench.read(
        record_ids=ids, batch_size=1, requests_per_minute=0, max_concurrent_requests=16
    )

    assert run.ids == ids
    assert bench.world.count()["throttled"] > 0


@pytest.mark.crossing
@pytest.mark.parametrize("status", [409, 429, 503])
@pytest.mark.parametrize("header", ["20", None, "0", "-5", "nonsense", "date"])
def test_throttling_is_waited_out(bench: Bench, status: int, header: str | None) -> None:
    if header == "date":
        later = datetime.now(timezone.utc) + timedelta(seconds=20)
        header = format_datetime(later, usegmt=True)
    headers = {} if header is None else {"Retry-After": header}
    bench.world.faults.append(Fault(status=status, headers=headers, times=20))

    run = bench.read(max_retries=1)

    assert run.ids == list(bench.ledger)


WAITS = {
    "Wait 3.5 seconds": 3.5,
    "Wait 3.5 seconds.": 3.5,
    "wait 20s": 20.0,
    "You must wait 20 sec before accessing this url again.": 20.0,
    "Too many calls, 120 per 60 seconds. Try again in 20 seconds": 20.0,
    "Expected available in 20 seconds.": 20.0,
    '{"Message": "Wait 1 second"}': 1.0,
    '{"retry_after": 20.25}': 20.25,
    '{"retryAfterSeconds": "20"}': 20.0,
    "<html><b>Wait 20 seconds</b></html>": 20.0,
    "9" * 400 + " seconds": 1e9,
    "120 calls per 60 seconds allowed": None,
    "<style>a {transition: all 3s}</style>": None,
    "Wait 500 ms": None,
    '{"retry_after": "500 ms"}': None,
    "Wait 2 minutes": None,
    "Wait": None,
    "": None,
}


@pytest.mark.parametrize(("body", "seconds"), WAITS.items(), ids=[text[:30] for text in WAITS])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"Retry-After": "soon"}], ids=str)
def test_the_wait_may_be_told_in_the_text_only(
    bench: Bench, body: str, seconds: float | None, headers: dict[str, str]
) -> None:
    bench.world.faults.append(
        Fault(status=429, body=body, headers=headers, endpoints=("one",), times=None)
    )

    run = bench.run(record_ids=[7], max_throttle_wait=0)

    assert isinstance(run.error, ThrottledError)
    if seconds is not None:
        assert f"it would have to wait {seconds:.0f} s more" in str(run.error)
    else:
        assert re.search(r"would have to wait [01] s more", str(run.error))


def test_the_header_goes_before_the_text(bench: Bench) -> None:
    headers = {"Retry-After": "7"}
    bench.world.faults.append(Fault(status=429, body="Wait 3.5 seconds", headers=headers))

    run = bench.run(max_throttle_wait=0)

    assert isinstance(run.error, ThrottledError)
    assert "it would have to wait 7 s more" in str(run.error)


def test_a_tenant_that_tells_the_wait_in_the_text_is_kept_to(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(150, throttled=True, time_scale=0.001, throttle_answer=429)

    run = bench.read(batch_size=1, max_retries=1)

    assert run.ids == list(bench.ledger)
    # Each waits for as long as it is told to, so hardly any is throttled twice.
    assert 0 < bench.world.count()["throttled"] < bench.world.count()["one"]


@pytest.mark.parametrize("digits", [10, 400, 5_000])
def test_a_huge_wait_is_a_huge_wait(bench: Bench, digits: int) -> None:
    headers = {"Retry-After": "9" * digits}
    bench.world.faults.append(Fault(status=409, headers=headers))

    run = bench.run()

    assert isinstance(run.error, ThrottledError)
    assert "it would have to wait 1000000000 s more" in str(run.error)


def test_a_throttled_login_is_waited_out_by_its_text(bench: Bench) -> None:
    bench.world.faults.append(
        Fault(status=429, body="Wait 3.5 seconds", endpoints=("token",), times=5)
    )

    assert bench.read(max_retries=1).ids == list(bench.ledger)


def test_throttling_that_does_not_end_is_told(bench: Bench) -> None:
    headers = {"Retry-After": "600"}
    bench.world.faults.append(Fault(status=409, headers=headers, endpoints=("many",), times=None))

    run = bench.run(max_throttle_wait=3_900)

    assert isinstance(run.error, ThrottledError)
    assert "max_throttle_wait" in str(run.error)
    # Six waits of 600 s are within 3,900 s, a seventh is not.
    assert bench.world.count()["many"] == 7


@pytest.mark.parametrize("kind", ["reset", "reset_in_body", "truncate"])
@pytest.mark.parametrize("endpoint", ["token", "one", "many"])
def test_a_broken_connection_is_tried_again(bench: Bench, kind: str, endpoint: str) -> None:
    bench.world.faults.append(Fault(kind, endpoints=(endpoint,), times=2))  # type: ignore[arg-type]

    run = bench.read(batch_size=1 if endpoint == "one" else 200)

    assert run.ids == list(bench.ledger)


@pytest.mark.parametrize("body", ["<html>Log in</html>", "", "null", '"text"', "{", "{}", "[]"])
def test_an_answer_of_another_kind_is_tried_again_then_told(bench: Bench, body: str) -> None:
    fault = Fault(status=200, body=body, endpoints=("one",), times=2)
    bench.world.faults.append(fault)
    assert bench.read(batch_size=1).ids == list(bench.ledger)

    fault.times = None
    run = bench.run(batch_size=1, max_retries=3)
    assert isinstance(run.error, ApiError)
    assert "something else than a record" in str(run.error) or "JSON" in str(run.error)


def test_a_call_is_tried_max_retries_times(bench: Bench) -> None:
    bench.world.faults.append(Fault(status=500, endpoints=("one",), times=None))

    run = bench.run(batch_size=1, max_retries=5, max_concurrent_requests=1)

    assert isinstance(run.error, ApiError)
    assert bench.world.count()["one"] >= 5
    assert "5 tries" in str(run.error)


def test_a_hanging_answer_is_given_up_after_the_timeout(bench: Bench) -> None:
    bench.world.faults.append(Fault("hang", endpoints=("many",)))

    assert bench.read(request_timeout=0.5).ids == list(bench.ledger)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 30 ", 30.0),
        ("3.5", 3.5),
        ("0", 0.0),
        ("-1", 0.0),
        ("30, 60", 60.0),
        ("30 seconds", 30.0),
        ("soon", None),
        ("1e3", None),
        ("nan", None),
        ("\u0664", None),
        (",", None),
        (None, None),
        ("", None),
    ],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=90)

    seconds = retry_after(format_datetime(later, usegmt=True))

    assert seconds is not None
    assert 85 < seconds <= 90


def test_retry_after_as_a_date_counts_from_the_servers_clock() -> None:
    moment = datetime(2001, 1, 1, tzinfo=timezone.utc)
    later = format_datetime(moment + timedelta(seconds=90), usegmt=True)

    assert retry_after(later, format_datetime(moment, usegmt=True)) == 90
    assert retry_after(later, "yesterday") == 0


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.none() | st.text())
@example("Fri, 31 Dec 9999 23:59:59 -9999", None)
@example("1 Jan 0001 00:00:00 +9999", "Fri, 31 Dec 9999 23:59:59 -9999")
def test_retry_after_of_any_kind_is_understood_or_not(value: str, date: str | None) -> None:
    seconds = retry_after(value, date)

    assert seconds is None or 0 <= seconds <= 1e9


@pytest.mark.parametrize(
    ("requests_per_minute", "calls", "at_least"),
    [(120, 121, 60.0), (10, 11, 60.0), (1, 2, 60.0), (600, 101, 10.0), (5_000, 101, 10.0)],
)
def test_every_published_window_is_kept(
    requests_per_minute: int, calls: int, at_least: float
) -> None:
    clock = Clock(speed=10_000.0)
    throttle = Throttle(clock, Pace(requests_per_minute))
    begin = clock.now()

    for _ in range(calls):
        throttle.acquire()

    assert clock.now() - begin >= at_least


def test_what_had_its_place_counts_once_but_keeps_its_distance() -> None:
    pace = Pace(2)

    assert pace.take(0.0) is None
    assert pace.take(0.05, again=True) is not None
    assert pace.take(1.0, again=True) is None
    assert pace.take(2.0) is None
    assert pace.take(3.0) is not None


def test_what_has_its_place_ahead_counts_once_and_is_spaced_when_it_is_sent() -> None:
    pace = Pace(2)

    assert pace.take(0.0, post=True, ahead=True) is None
    assert pace.take(0.05, post=True, again=True) is None
    assert pace.take(0.11) is not None
    assert pace.take(0.16) is None
    assert pace.take(1.0) is not None


def test_a_login_that_gets_no_place_is_not_counted() -> None:
    pace = Pace(1)
    assert pace.take(0.0) is None

    waits = [pace.take(1.0 + tick, post=True) for tick in range(58)]
    waits += [pace.take(59.0 + tick / 100, post=True) for tick in range(100)]

    assert None not in waits
    assert pace.take(61.0, post=True) is None


def test_no_call_is_let_through_after_the_end() -> None:
    clock = Clock()
    throttle = Throttle(clock, Pace(0))
    clock.stop()

    with pytest.raises(StoppedError):
        throttle.acquire()


def test_no_pace_means_no_wait() -> None:
    throttle = Throttle(Clock(), Pace(0))

    for _ in range(1_000):
        throttle.acquire(post=True)

    assert throttle.waited == 0
