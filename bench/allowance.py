"""How much of the throttle's allowance a run used, as it went on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

PER_MINUTE = 120
MINUTE = 60.0
STEP = 5.0
"""Seconds between two points."""


def shares_used(calls: Sequence[Mapping[str, Any]]) -> list[float]:
    """For every `STEP` seconds since the first call, the share of the last minute's allowance used.

    Only calls let through count; times are the API's seconds.
    """
    times = [call["time"] for call in calls if call["status"] != HTTPStatus.CONFLICT]
    if not times:
        return []
    first, last = times[0], times[-1]
    moments = [first + STEP * step for step in range(int((last - first) / STEP) + 2)]
    return [_calls_before(times, min(moment, last)) / PER_MINUTE for moment in moments]


def _calls_before(times: Sequence[float], moment: float) -> int:
    return bisect_right(times, moment) - bisect_left(times, moment - MINUTE)
