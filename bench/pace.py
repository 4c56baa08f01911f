"""The tap's pace against servers that count in several ways, in virtual time.

The pace is the tap's own; the server's throttle is the sandbox's. Between them lie a way there, on
which calls may overtake each other, and the server's work, which begins after it has counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count, product
from typing import Literal

from tap_nexudus_usage.nexudus.pace import Pace
from tap_nexudus_usage.sandbox.throttle import GENERAL, Counting, Throttle

Jitters = Literal["work", "way there"]
"""Where a latency varies: in the server's work, or on the way there."""

PUBLISHED: Counting = "sliding"
"""How the published limits are read."""

THREADS = 4
"""As `max_concurrent_requests` is by default; a search asks one page after the other."""

LATE = 0.001
"""Seconds, on average, by which a thread wakes up late."""

JITTER = 0.5
"""By which share a latency is shorter or longer."""


@dataclass(frozen=True)
class Course:
    """One reading to simulate.

    Attributes:
        calls: how many have to be let through.
        latency: seconds between sending a call and having its answer, on average.
        is_search: whether each call has to wait for the answer to the one before.
    """

    counting: Counting
    latency: float
    calls: int
    jitters: Jitters = "work"
    is_search: bool = False
    seed: int = 1


@dataclass
class Outcome:
    """How it went; times are seconds at the server.

    Attributes:
        times: when each call was let through.
        throttled: how many were not.
        ideal: seconds from the first to the last, the least that both the server and the published
            limits allow.
    """

    ideal: float
    times: list[float] = field(default_factory=list)
    throttled: int = 0

    @property
    def share(self) -> float:
        """Of what is possible, the share reached."""
        return self.ideal / (self.times[-1] - self.times[0])

    @property
    def share_throttled(self) -> float:
        """Of all calls, the share throttled."""
        return self.throttled / (self.throttled + len(self.times))


@dataclass(order=True)
class _Event:
    time: float
    order: int
    happen: Callable[[], None] = field(compare=False)


class _Simulation:
    """Threads, as chains of events."""

    def __init__(self, course: Course, pace: Pace) -> None:
        self.now = 0.0
        self._course = course
        self._pace = pace
        self._server = Throttle(lambda: self.now, GENERAL, course.counting)
        self._chance = random.Random(course.seed)
        self._events: list[_Event] = []
        self._order = count()
        self._left = course.calls
        self.outcome = Outcome(_ideal(course))

    def run(self) -> Outcome:
        for _ in range(1 if self._course.is_search else THREADS):
            self._at(0.0, self._begin)
        while self._events:
            event = heappop(self._events)
            self.now = event.time
            event.happen()
        return self.outcome

    def _at(self, seconds: float, happen: Callable[[], None]) -> None:
        heappush(self._events, _Event(self.now + seconds, next(self._order), happen))

    def _begin(self) -> None:
        if self._left:
            self._left -= 1
            self._send()

    def _send(self) -> None:
        wait = self._pace.take(self.now)
        if wait is not None:
            self._at(wait.seconds + self._chance.expovariate(1 / LATE), self._send)
            return
        there, work = _latency(self._course, self._chance)
        self._at(there, partial(self._arrive, self.now, work))

    def _arrive(self, sent_at: float, work: float) -> None:
        asked = self._server.seconds_to_wait()
        if asked is None:
            self.outcome.times.append(self.now)
            self._at(work, self._begin)
        else:
            self.outcome.throttled += 1
            self._at(0.0, partial(self._obey, sent_at, float(asked)))

    def _obey(self, sent_at: float, asked: float) -> None:
        self._pace.learn(self.now, sent_at=sent_at, asked=asked)
        self._pace.hold(self.now, asked)
        self._send()


def _latency(course: Course, chance: random.Random) -> tuple[float, float]:
    """Seconds of the way there, and of the server's work."""
    seconds = course.latency * chance.uniform(1 - JITTER, 1 + JITTER)
    return (seconds, 0.0) if course.jitters == "way there" else (0.0, seconds)


def _ideal(course: Course) -> float:
    """Seconds in which all calls can be let through."""
    now = 0.0
    limits = [Throttle(lambda: now, GENERAL, name) for name in (course.counting, PUBLISHED)]
    chance = random.Random(course.seed)
    for number in range(course.calls):
        if number and course.is_search:
            now += sum(_latency(course, chance))
        while (wait := max(limit.seconds_left() for limit in limits)) > 0:
            now += wait
        for limit in limits:
            limit.seconds_to_wait()
    return now


def simulate(course: Course) -> Outcome:
    """Go through a course at the pace that is the tap's by default."""
    return _Simulation(course, Pace(120)).run()


COUNTINGS: Sequence[Counting] = ("sliding", "fixed", "bucket", "spacing", "ticks", "even")
LATENCIES = (0.0, 0.01, 0.08, 0.3)
"""Seconds."""

READS: Mapping[str, tuple[int, bool]] = {
    "20,000 by Id": (101, False),
    "50,000 by search": (52, True),
    "1,000 one by one": (1_001, False),
}
"""Calls, and whether it is a search."""


def courses(jitters: Jitters = "work") -> Iterator[Course]:
    """Every way to count, every latency, every reading."""
    for counting, latency, (calls, is_search) in product(COUNTINGS, LATENCIES, READS.values()):
        yield Course(counting, latency, calls, jitters, is_search=is_search)


@dataclass
class Paced:
    """Of one way to count and one reading, what the pace reached at each of `LATENCIES`.

    Attributes:
        shares: of what is possible.
        throttled: of the calls.
    """

    counting: str
    jitters: str
    reading: str
    shares: list[float]
    throttled: list[float]


def paced() -> list[Paced]:
    """All that is worth showing: where calls overtake each other, only the published way."""
    return [
        *(_paced(counting, "work", reading) for counting in COUNTINGS for reading in READS),
        *(_paced(PUBLISHED, "way there", reading) for reading in READS),
    ]


def _paced(counting: Counting, jitters: Jitters, reading: str) -> Paced:
    calls, is_search = READS[reading]
    outcomes = [
        simulate(Course(counting, latency, calls, jitters, is_search=is_search))
        for latency in LATENCIES
    ]
    return Paced(
        counting,
        jitters,
        reading,
        [outcome.share for outcome in outcomes],
        [outcome.share_throttled for outcome in outcomes],
    )
