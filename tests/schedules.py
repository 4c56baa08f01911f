"""Schedules of faults, drawn from a seed: what goes wrong over several runs, and how each ends."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tenant import offset

CLOCK_SPEED = 20_000.0
"""With it a minute of backoff is 3 ms, an hour of Retry-After 180 ms."""

LOOKBACK_HOURS = 2

GATEWAYS = ("<html><h1>404</h1></html>", "")
"""Bodies of a 404 by which somebody else than the API answers."""

STATUSES = (
    *(204, 206, 302, 400, 401, 403, 407, 408, 409, 413, 414, 418, 425, 429),
    *(500, 502, 503, 504, 511, 599),
)
"""Without 404 and 410, by which the API says that there is no such record: that is no fault."""

BODIES = (
    "",
    "null",
    "[]",
    "{}",
    "[{}]",
    "[null]",
    '"text"',
    '{"Id": nu',
    '{"Id": null}',
    '{"Records": []}',
    '{"error": "server_error"}',
    "\ufeff[]",
    "<html><h1>Log in</h1></html>",
    "\x00\x1b[2J",
    "NaN",
)

CLOCKS = (
    *map(offset, (-11.5, -5, 2, 5.75, 13)),
    ZoneInfo("Europe/Lisbon"),
    ZoneInfo("America/New_York"),
)

Ending = Literal["none", "terminate", "interrupt", "kill", "twice", "close", "full"]
Way = Literal["id", "search"]


@dataclass
class PlannedRun:
    """One run: what happens to the ledger before it, what goes wrong in it, and what ends it.

    Attributes:
        ending: `twice` is SIGTERM twice, `close` a reader that goes away, `full` a full disk.
        calls: after how many calls a signal comes.
        output: after how many bytes of output the reader goes away, or the disk is full.
        delay: seconds from what triggers a signal to the signal.
    """

    way: Way
    ending: Ending
    calls: int
    output: int
    delay: float
    updates: int
    inserts: int
    deletes: int
    faults: list[Fault] = field(default_factory=list)


@dataclass
class Schedule:
    """All that a seed decides.

    Attributes:
        allowances: how many there are beside the ledger's records; None: they aren't selected.
        most_plain: entries that the state keeps as an object, see `packed`.
    """

    records: int
    allowances: int | None
    throttled: bool
    get_many_role: Literal["Read", "List"] | None
    tenant: dict[str, Any]
    log_level: str
    state_every: int
    settings: dict[str, Any]
    runs: list[PlannedRun]
    most_plain: int


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(seed)  # noqa: S311 - chance, no secret
    way: Way = chance.choice(("id", "search"))
    switches = chance.random() < 0.15
    records = chance.choice((0, 1, 5, 30, 80))
    return Schedule(
        records=records,
        allowances=chance.choice((None, records)),
        throttled=chance.random() < 0.2,
        get_many_role=chance.choice(("Read", "Read", "List", None)),
        tenant=_tenant(chance),
        log_level=chance.choice(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
        state_every=chance.choice((1, 3, 10, 10_000)),
        settings={
            "batch_size": chance.choice((1, 2, 7, 200)),
            "page_size": chance.choice((1, 3, 20, 1_000)),
            "max_concurrent_requests": chance.choice((1, 2, 4, 8)),
            "max_retries": chance.choice((1, 2, 4, 8)),
            "max_throttle_wait": chance.choice((30, 3_900)),
            "requests_per_minute": chance.choice((0, 120)),
            "request_timeout": 0.3,
            "lookback_hours": LOOKBACK_HOURS,
            "on_missing_record": chance.choice(("warn", "tombstone", "fail")),
        },
        runs=[
            _run(chance, chance.choice(("id", "search")) if switches else way)
            for _ in range(chance.randint(1, 3))
        ],
        most_plain=chance.choice((0, 5, 10_000)),
    )


def _tenant(chance: random.Random) -> dict[str, Any]:
    """Attributes of a `Tenant`: each is as plain as can be in every other schedule."""
    forms = ({"array"}, {"filter"}, {"array", "filter"}, set())
    attributes = {
        "dir_reading": chance.choice(("new", "old", "words")),
        "ties": chance.choice(("by_id", "turning", "random")),
        "sorts_by": chance.choice(("ticks", "milliseconds")),
        "page_cap": chance.choice((2, 7, 1_000)),
        "cap_is_silent": chance.random() < 0.5,
        "has_next_page": chance.choice(("rightly", "always", "never", "null")),
        "clock": chance.choice(CLOCKS),
        "throttle_answer": chance.choice((409, 429)),
        "byte_order_mark": chance.random() < 0.4,
        "get_many_forms": frozenset(chance.choice(forms)),
    }
    return {name: value for name, value in attributes.items() if chance.random() < 0.5}


def quiet(way: Way) -> PlannedRun:
    """A run in which nothing happens."""
    return PlannedRun(way, "none", 0, 0, 0.0, 0, 0, 0)


def _run(chance: random.Random, way: Way) -> PlannedRun:
    endings: Sequence[Ending] = ("terminate", "interrupt", "kill", "twice", "close", "full")
    return PlannedRun(
        way=way,
        ending="none" if chance.random() < 0.4 else chance.choice(endings),
        calls=chance.choice((0, 1, 2, 3, 5, 10, 40)),
        output=chance.choice((0, 10, 3_000, 9_000, 20_000)),
        delay=chance.choice((0.0, 0.0, 0.002, 0.02)),
        updates=chance.randint(0, 8),
        inserts=chance.randint(0, 3),
        deletes=chance.choice((0, 0, 1, 3)),
        faults=_faults(chance),
    )


def _faults(chance: random.Random) -> list[Fault]:
    faults = [_fault(chance) for _ in range(chance.choice((0, 1, 2, 5, 10)))]
    if chance.random() < 0.2:
        # One at most: that the same Id is hit by several of them can't be told from a deletion.
        gateway = Fault(
            status=404,
            body=chance.choice(GATEWAYS),
            endpoints=("one", "many", "search", "me"),
            skip=chance.choice((0, 1, 3, 10, 30)),
            times=chance.choice((1, 4, 20, None)),
        )
        faults.insert(0, gateway)
    return faults


def _fault(chance: random.Random) -> Fault:
    fault = Fault(
        endpoints=chance.choice(((), ("token",), ("one", "many", "search"))),
        skip=chance.choice((0, 0, 1, 2, 5, 15)),
        times=None if chance.random() < 0.08 else chance.choice((1, 1, 2, 4)),
    )
    kind = chance.choice(
        ("status", "status", "throttle", "body", "break", "duplicate", "hang", "refuse", "expire")
    )
    if kind == "status":
        fault.status = chance.choice(STATUSES)
        fault.body = chance.choice(("", "a room\nCRITICAL | all is well\x1b[2J", "x" * 300))
    elif kind == "throttle":
        fault.status = chance.choice((409, 429, 503))
        fault.headers = _retry_after(chance)
        fault.body = chance.choice(("", "", "Wait 3.5 seconds", '{"retry_after": 20}'))
    elif kind == "body":
        fault.status, fault.body = 200, chance.choice(BODIES)
    elif kind == "break":
        fault.kind = chance.choice(("reset", "reset_in_body", "truncate", "stall"))
    elif kind == "hang":
        fault.kind, fault.seconds, fault.times = "hang", 5.0, 1
    elif kind == "refuse":
        fault.kind, fault.seconds, fault.times = "refuse", chance.choice((0.001, 0.03)), 1
    else:
        fault.kind = "duplicate" if kind == "duplicate" else "expire_token"
    return fault


def _retry_after(chance: random.Random) -> dict[str, str]:
    later = datetime.now(timezone.utc) + timedelta(seconds=chance.choice((-60, 20, 90)))
    date = format_datetime(later, usegmt=True)
    values = (None, "1", "20", "3600", "0", "-5", "soon", "1e3", "", date)
    value = chance.choice(values)
    return {} if value is None else {"Retry-After": value}


def describe(schedule: Schedule) -> str:
    """The schedule in readable lines, for a failing test to show."""
    head = {name: value for name, value in vars(schedule).items() if name != "runs"}
    return "\n".join([json.dumps(head, default=str), *map(str, schedule.runs)])
