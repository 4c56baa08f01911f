"""What was emitted is kept exactly, however much it is, and in no more than runners take."""

from __future__ import annotations

import json
import os
import random
import re
import signal
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airbyte.conversation import Source
from conftest import SEED, Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_target import ModelTarget
from outcomes import STREAM, merged
from protocols import PROTOCOLS, Protocol
from tap_server import Drain, Order, TapServer
from waiting import wait_until

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.emission import packed
from tap_nexudus_usage.emission.emitted import Emitted
from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.nexudus.entities import ALLOWANCES
from tap_nexudus_usage.run.checkpoints import entries
from tap_nexudus_usage.sandbox.faults import Fault

MANY = 10_400
"""Entries; more than are kept as an object."""

MICROSECOND = timedelta(microseconds=1)

WAYS = pytest.mark.parametrize("way", ["id", "search"])

stamps = st.none() | st.datetimes(timezones=st.just(timezone.utc)).map(timestamps.from_datetime)
ids = st.integers(0, 2**64 - 1).map(str)
odd = (
    st.text() | st.integers().map(str) | st.sampled_from(["007", "7", "+7", " 7", "\uff17", "7_0"])
)


@pytest.fixture
def always_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST_PLAIN", 0)


a_bookmark = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.usefixtures("always_packed")
@a_bookmark
@given(st.dictionaries(ids, stamps, min_size=1))
def test_a_text_says_what_was_packed(emitted: dict[str, str | None]) -> None:
    kept = packed.pack(emitted, follows_text=False)

    assert kept.keys() == {packed.TEXT}
    assert packed.unpack(json.loads(json.dumps(kept))) == emitted
    assert packed.count_entries(kept) == len(emitted)


@pytest.mark.usefixtures("always_packed")
@a_bookmark
@given(st.dictionaries(ids | odd, stamps), stamps, st.sampled_from(["id", "search", None]))
def test_no_bookmark_is_changed_by_keeping_it(
    emitted: dict[str, str | None], newest: str | None, read_by: str | None
) -> None:
    plain = {"replication_key_value": newest, "emitted": emitted, "read_by": read_by}
    state = dict(plain)

    Emitted(state, "UpdatedOn").save()
    Emitted(state := json.loads(json.dumps(state)), "UpdatedOn").save()

    assert packed.unpack(state.pop("emitted")) == plain.pop("emitted")
    assert state == {"replication_key": "UpdatedOn", **plain}


def test_ordinary_states_are_kept_as_an_object() -> None:
    def kept(count: int) -> Any:
        state: dict[str, Any] = {}
        emitted = Emitted(state, "UpdatedOn")
        for record_id in range(count):
            emitted.add(record_id, "2025-01-15T10:30:00.500000Z")
        emitted.save()
        return state["emitted"]

    assert kept(10_000) == {str(i): "2025-01-15T10:30:00.500000Z" for i in range(10_000)}
    assert kept(10_001).keys() == {"zlib1"}
    assert kept(10_001)["zlib1"].startswith("10001:")


def test_a_text_replaces_the_entries_that_a_runner_merges_it_with() -> None:
    newer, older = many(), {"7": "2025-01-15T10:30:00.500000Z"}

    merged = {**older, **packed.pack(newer, follows_text=False)}

    assert packed.unpack(merged) == newer


def test_fewer_entries_replace_the_text_that_a_runner_merges_them_with() -> None:
    state = {"emitted": packed.pack(many(), follows_text=False)}
    emitted = Emitted(before := dict(state), "UpdatedOn")
    emitted.begin_by_id([7])
    emitted.add(7, stamp := "2025-01-15T10:30:00.500000Z")
    emitted.save()

    merged = {**state["emitted"], **before["emitted"]}
    Emitted(after := {"emitted": merged}, "UpdatedOn").save()

    assert packed.unpack(merged) == {"7": stamp}
    assert after["emitted"] == {"7": stamp}


def test_entries_that_a_text_has_replaced_do_not_come_back_with_fewer_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A runner keeps them beside the text; one is of an Id whose tombstone was written since."""
    stamp = "2025-01-15T10:30:00.500000Z"
    oldest = {"emitted": {"7": stamp, "8": stamp}}
    with monkeypatch.context() as patch:
        patch.setattr(packed, "MOST_PLAIN", 0)
        emitted = Emitted(older := dict(oldest), "UpdatedOn")
        emitted.begin_by_id([7, 8, 9])
        emitted.add(9, stamp)
        emitted.forget(7)
        emitted.save()
    emitted = Emitted(newer := merged(oldest, older), "UpdatedOn")
    emitted.begin_by_id([7, 8])
    emitted.save()

    kept = merged(merged(oldest, older), newer)["emitted"]

    assert packed.unpack(kept) == {"8": stamp}


def at_random(count: int, span: timedelta, ids: range) -> dict[str, str | None]:
    """Nothing in it can be foreseen."""
    chance = random.Random(SEED)  # noqa: S311 - data, no secret
    start, microseconds = datetime(2025, 1, 15, tzinfo=timezone.utc), span // MICROSECOND
    return {
        str(record_id): timestamps.from_datetime(
            start + chance.randrange(microseconds) * MICROSECOND
        )
        for record_id in chance.sample(ids, count)
    }


@pytest.mark.wide
@pytest.mark.parametrize(
    ("count", "span", "most"),
    [
        (500_000, timedelta(hours=1), 4_200_000),
        (200_000, timedelta(days=4 * 365), 2_300_000),
    ],
    ids=["bulk-change", "by-id"],
)
def test_the_worst_that_happens_stays_below_five_million_bytes(
    count: int, span: timedelta, most: int
) -> None:
    emitted = at_random(count, span, range(1, 2**31))

    kept = packed.pack(emitted, follows_text=False)

    assert len(json.dumps(kept)) < most < 5_000_000
    assert packed.unpack(kept) == emitted


def damaged(text: str) -> list[Any]:
    middle = len(text) // 2
    other = "A" if text[middle] != "A" else "B"
    return [
        "",
        "x",
        7,
        text[:middle],
        text[:-4],
        text[:middle] + other + text[middle + 1 :],
        text[:middle] + "é" + text[middle:],
        text.replace(f"{MANY}:", f"{MANY + 1}:"),
        text.replace(f"{MANY}:", "999999999:"),
        text.replace(f"{MANY}:", ":"),
    ]


def many() -> dict[str, str | None]:
    return at_random(MANY, timedelta(hours=1), range(10**8, 10**9))


@pytest.mark.parametrize("kind", range(len(damaged(f"{MANY}:"))))
def test_a_damaged_text_is_told(bench: Bench, kind: int) -> None:
    text = packed.pack(many(), follows_text=False)[packed.TEXT]
    bookmark = {"emitted": {packed.TEXT: damaged(str(text))[kind]}}

    run = bench.run(state={"bookmarks": {STREAM: bookmark}})
    said = Source(bench).read(state={"bookmarks": {STREAM: bookmark}})

    assert isinstance(run.error, SettingsError)
    assert "The state can't be understood" in str(run.error)
    assert "The state can't be understood" in said.errors[0]["message"]
    assert run.ids == said.ids() == []
    assert run.bookmark == bookmark


def test_the_text_of_a_stream_that_is_not_read_is_passed_on_and_counts(bench: Bench) -> None:
    bookmark = {"emitted": packed.pack(many(), follows_text=False), "read_by": "id"}

    run = bench.read(state={"bookmarks": {ALLOWANCES.stream: dict(bookmark)}})

    assert run.state["bookmarks"][ALLOWANCES.stream] == bookmark
    assert entries(run.state) == MANY + len(bench.ledger)


def a_bulk_change(make_bench: Callable[..., Bench], records: int) -> Bench:
    bench = make_bench(records)
    bench.ledger.change_all(timedelta(hours=1))
    return bench


def read(server: TapServer, protocol: Protocol, bench: Bench, way: str, **state: Any) -> Any:
    config = bench.settings() if way == "id" else bench.settings(record_ids=None)
    args = protocol.prepare(config, state, [STREAM])
    finished = server.run(Order(args, protocol=protocol.name))
    assert finished.code == 0, finished.stderr
    return protocol.messages(finished.stdout.encode())


@pytest.mark.crossing
@WAYS
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_an_object_of_any_size_is_read_and_becomes_a_text(
    make_bench: Callable[..., Bench], tap_server: TapServer, protocol: Protocol, way: str
) -> None:
    bench = a_bulk_change(make_bench, MANY)
    expected = [bench.expected(record_id) for record_id in bench.ledger]
    emitted = {str(record["Id"]): record["UpdatedOn"] for record in expected}
    plain = {"replication_key_value": max(emitted.values()), "read_by": way, "emitted": emitted}
    changed = bench.ledger.change(next(iter(bench.ledger)), CreditUsed=999)["Id"]

    messages = [*read(tap_server, protocol, bench, way, **{STREAM: plain})]

    assert [m["record"]["Id"] for m in messages if m["type"] == "RECORD"] == [changed]
    *_, bookmark = (m["states"][STREAM] for m in messages if STREAM in m.get("states", {}))
    assert bookmark["emitted"].keys() == {packed.TEXT}
    assert packed.unpack(bookmark["emitted"]) == {
        **emitted,
        str(changed): bench.expected(changed)["UpdatedOn"],
    }


@pytest.mark.crossing
@WAYS
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_a_killed_run_is_resumed_from_a_text(
    make_bench: Callable[..., Bench], tap_server: TapServer, protocol: Protocol, way: str
) -> None:
    bench = a_bulk_change(make_bench, 3_000)
    bench.config.update(batch_size=50, page_size=100)
    # After more than 2,000 records, and before the end.
    endpoint, skip = {"id": ("many", 50), "search": ("search", 33)}[way]
    bench.world.faults.append(Fault("hang", endpoints=(endpoint,), skip=skip, times=None))
    config = bench.settings() if way == "id" else bench.settings(record_ids=None)
    args = protocol.prepare(config, {}, [STREAM])
    output, stderr = Path("output.jsonl"), Drain()
    with output.open("wb") as stdout:
        order = Order(args, protocol=protocol.name, state_every=1_000, most_plain=1_000)
        pid = tap_server.start(order, stdout.fileno(), stderr.write_end)
        os.close(stderr.write_end)
        try:
            # The whole line: a kill in the middle of a write leaves a part of it.
            wait_until(lambda: re.search(rb'"zlib1":"2000:.*\n', output.read_bytes()))
        finally:
            os.kill(pid, signal.SIGKILL)
            code = tap_server.exit_code()
    bench.world.faults.clear()
    target = ModelTarget()
    target.take(protocol.messages(output.read_bytes()))
    held = len(target.rows)
    resumed = target.take(read(tap_server, protocol, bench, way, **{STREAM: target.bookmark}))

    assert code == -signal.SIGKILL
    assert (held, len(resumed)) == (2_000, 1_000)
    assert all(target.holds(bench.expected(record_id)) for record_id in bench.ledger)
