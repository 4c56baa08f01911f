"""The pace between calls, in virtual time, against servers that count in several ways."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.pace import LATENCIES, Course, Outcome, courses, paced, simulate
from bench.results import Results, as_json
from bench.summary import RESULTS
from tap_nexudus_usage.nexudus.pace import Pace
from tap_nexudus_usage.nexudus.spacing import CALM, CLOSEST, PUBLISHED, WIDEST, Spacing
from tap_nexudus_usage.sandbox.throttle import Counting

AS_PUBLISHED: tuple[Counting, ...] = ("sliding", "fixed", "bucket", "spacing")
STRICTER: tuple[Counting, ...] = ("ticks", "even")


def outcomes(course: Course) -> list[Outcome]:
    return [simulate(replace(course, seed=seed)) for seed in (1, 2, 3)]


@pytest.mark.parametrize(
    "course", [course for course in courses() if course.counting in AS_PUBLISHED], ids=str
)
def test_the_published_pace_is_reached_and_hardly_a_call_throttled(course: Course) -> None:
    for outcome in outcomes(course):
        assert len(outcome.times) == course.calls
        assert outcome.share >= 0.95
        assert outcome.share_throttled < 0.01


@pytest.mark.parametrize("counting", STRICTER)
@pytest.mark.parametrize("latency", LATENCIES)
def test_a_stricter_tenant_is_no_stop_and_go(counting: Counting, latency: float) -> None:
    for outcome in outcomes(Course(counting, latency, 1_001)):
        assert outcome.share >= 0.8
        assert outcome.share_throttled < 0.02


@pytest.mark.parametrize("latency", LATENCIES)
def test_calls_that_overtake_each_other_on_the_way_are_sent_less_closely(latency: float) -> None:
    for outcome in outcomes(Course("sliding", latency, 1_001, "way there")):
        assert outcome.share >= 0.9
        assert outcome.share_throttled < 0.02


def take_many(spacing: Spacing, calls: int, now: float = 0.0) -> float:
    for _ in range(calls):
        now += spacing.wait(now)
        spacing.take(now)
    return now


def test_the_margin_begins_close_and_never_is_less() -> None:
    spacing = Spacing()

    now = take_many(spacing, 2 * CALM + 1)

    assert spacing.margin == CLOSEST
    assert now == pytest.approx(2 * CALM * (PUBLISHED + CLOSEST))


def test_a_throttled_call_widens_it_once_for_all_that_were_under_way() -> None:
    spacing = Spacing()
    now = take_many(spacing, 4)

    assert spacing.widen(now, sent_at=now - 0.3, asked=1.0)
    assert not spacing.widen(now + 0.1, sent_at=now - 0.2, asked=1.0)
    assert spacing.margin == 2 * CLOSEST
    assert spacing.widen(now + 2.0, sent_at=now + 1.0, asked=None)
    assert spacing.margin == 4 * CLOSEST


def test_the_next_call_is_kept_apart_from_the_last_as_it_was_sent() -> None:
    pace = Pace(120)
    assert pace.take(0.0) is None

    pace.written(0.02)
    wait = pace.take(0.11)

    assert wait is not None
    assert 0.11 + wait.seconds == pytest.approx(0.02 + PUBLISHED + CLOSEST)
    # Another thread's note may come late.
    pace.written(0.01)
    assert pace.take(0.02 + PUBLISHED + CLOSEST) is None


def test_a_long_wait_tells_of_a_longer_limit_and_teaches_nothing() -> None:
    spacing = Spacing()

    assert not spacing.widen(1.0, sent_at=0.5, asked=40.0)
    assert spacing.margin == CLOSEST


def test_the_margin_is_never_wider_than_the_hours_limit_asks_for() -> None:
    spacing = Spacing()
    for moment in range(1, 20):
        spacing.widen(moment, sent_at=moment - 0.5, asked=1.0)

    assert spacing.margin == WIDEST
    assert 3_600 / (PUBLISHED + WIDEST) > 0.97 * 5_000


def test_after_a_calm_it_is_closer_and_less_is_added_where_that_was_too_close() -> None:
    spacing = Spacing()
    spacing.widen(0.0, sent_at=-0.1, asked=1.0)
    spacing.widen(1.0, sent_at=0.9, asked=1.0)
    wide = spacing.margin

    now = take_many(spacing, CALM, 2.0)
    assert spacing.margin == pytest.approx(0.75 * wide)
    spacing.widen(now, sent_at=now, asked=1.0)

    assert wide < spacing.margin < 1.5 * wide


def test_the_results_that_are_committed_are_the_paces() -> None:
    committed = json.loads(RESULTS.read_text(encoding="utf-8"))["paced"]

    assert committed == as_json(Results({}, paced=paced()))["paced"]
