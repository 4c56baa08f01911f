"""How much of what the published limits allow a run used."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from tap_nexudus_usage.sandbox.throttle import GENERAL

PER_MINUTE = 120
MINUTE = 60.0
STEP = 5.0
"""Seconds between two points."""


def shares_used(calls: Sequence[Mapping[str, Any]]) -> list[float]:
    """For every `STEP` seconds since the first call, the share of the last minute's allowance used.

    Only calls let through count; times are the API's seconds.
    """
    times = _times(calls)
    if not times:
        return []
    first, last = times[0], times[-1]
    moments = [first + STEP * step for step in range(int((last - first) / STEP) + 2)]
    return [_calls_before(times, min(moment, last)) / PER_MINUTE for moment in moments]


def least_seconds(calls: int) -> float:
    """The shortest time, of the API's, from the first of so many calls to the last."""
    return earliest(calls)[-1]


def earliest(calls: int) -> list[float]:
    """When each of so many calls can come, in the API's seconds after the first."""
    at = [0.0]
    for number in range(1, calls):
        at.append(max(at[number - most] + seconds for most, seconds in GENERAL if number >= most))
    return at


def seconds_taken(calls: Sequence[Mapping[str, Any]]) -> float:
    """The time, of the API's, from the first call let through to the last."""
    times = _times(calls)
    return times[-1] - times[0] if times else 0.0


def _times(calls: Sequence[Mapping[str, Any]]) -> list[float]:
    """When those calls came that were let through."""
    return [call["time"] for call in calls if call["status"] != HTTPStatus.CONFLICT]


def _calls_before(times: Sequence[float], moment: float) -> int:
    return bisect_right(times, moment) - bisect_left(times, moment - MINUTE)
