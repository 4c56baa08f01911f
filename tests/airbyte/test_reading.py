"""`read`: the same records as by Singer, and states that cover what came before them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from conftest import Bench, shared_tap_server
from outcomes import STREAM, catalog_of
from tap_server import Drain, Order
from waiting import is_full, wait_until

from airbyte.conversation import CURSOR, DELETED, OWN, READ, Said, Source, parsed, say
from tap_nexudus_usage.emission.packed import unpack
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import User
from tap_nexudus_usage.sandbox.turmoil import Turmoil

BOTH = tuple(entity.stream for entity in ENTITIES)
WAYS = pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
ROLES = {role for entity in ENTITIES for role in (entity.read_role, entity.list_role)}


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(60, allowances=90)


@pytest.fixture
def source(bench: Bench) -> Source:
    return Source(bench)


def counted(said: Said, stream: str = STREAM) -> None:
    """What each STATE says it covers is what a reader counts, and no two are equal."""
    seen, states = 0, []
    for message in said.messages:
        if message["type"] == "RECORD" and message["record"]["stream"] == stream:
            seen += 1
        if message["type"] == "STATE":
            state = message["state"]
            if state["stream"]["stream_descriptor"]["name"] == stream:
                assert state["sourceStats"]["recordCount"] == seen
                assert state["stream"]["stream_state"] not in states
                states.append(state["stream"]["stream_state"])
                seen = 0
    assert seen == 0
    assert states


@WAYS
def test_both_protocols_bring_the_same(source: Source, bench: Bench, way: dict[str, Any]) -> None:
    by_singer = bench.read(catalog=catalog_of(*BOTH), **way)

    said = source.read(*BOTH, **way)

    assert said.code == 0
    for stream in BOTH:
        counted(said, stream)
        rows = [
            {name: value for name, value in row.items() if name not in OWN}
            for row in said.rows(stream)
        ]
        expected = [
            {name: value for name, value in message["record"].items() if name != "_sdc_deleted_at"}
            for message in by_singer.messages
            if message["type"] == "RECORD" and message["stream"] == stream
        ]
        assert rows == expected
        assert said.statuses(stream) == ["STARTED", "RUNNING", "COMPLETE"]
    assert "records emitted" in said.logs


@WAYS
def test_a_rerun_brings_what_changed(source: Source, bench: Bench, way: dict[str, Any]) -> None:
    first = source.read(*BOTH, **way)
    silent = source.read(*BOTH, state=first.state, **way)
    changed, allowance = list(bench.ledger)[3], list(bench.allowances)[3]
    bench.ledger.change(changed, CreditUsed=7)
    second = source.read(*BOTH, state=silent.state, **way)

    assert silent.rows(BOTH[0]) == silent.rows(BOTH[1]) == []
    assert silent.statuses() == ["STARTED", "COMPLETE"]
    counted(silent)
    assert second.ids() == [changed]
    assert allowance not in second.ids(ALLOWANCES.stream)


@WAYS
def test_the_cursor_only_grows(source: Source, bench: Bench, way: dict[str, Any]) -> None:
    first = source.read(**way)
    for record_id in list(bench.ledger)[:5]:
        # Stamped earlier than what it corrects.
        bench.ledger.change(record_id, CreditUsed=1)
    second = source.read(state=first.state, **way)

    cursors = [row[CURSOR] for said in (first, second) for row in said.rows()]
    assert cursors == sorted(set(cursors))
    assert second.states()[-1]["cursor"] > cursors[-1]


def test_the_cursor_grows_though_the_clock_is_set_back(source: Source, bench: Bench) -> None:
    state = source.read().state
    ahead = 2**60
    state[0]["stream"]["stream_state"]["cursor"] = ahead
    bench.ledger.change(next(iter(bench.ledger)), CreditUsed=1)

    (row,) = source.read(state=state).rows()

    assert row[CURSOR] == ahead + 1


def test_what_a_destination_keeps_is_the_latest(source: Source, bench: Bench) -> None:
    """The rule of Airbyte's destinations, over deletions and corrections; see `keep`."""
    settings = {"on_missing_record": "tombstone", "record_ids": list(bench.ledger)}
    corrected, deleted, lost = list(bench.ledger)[:3]
    first = source.read(**settings)
    bench.ledger.change(corrected, CreditUsed=9, UpdatedOn="2023-01-01T00:00:00Z")
    bench.ledger.change(lost, CreditUsed=8, UpdatedOn=None)
    bench.ledger.delete(deleted)
    second = source.read(state=first.state, **settings)
    third = source.read(state=second.state, **settings)

    table: dict[int, dict[str, Any]] = {}
    for said in (first, second, third):
        keep(table, said.rows())
    assert third.rows() == []
    assert table[corrected]["CreditUsed"] == 9
    assert table[lost]["CreditUsed"] == 8
    assert deleted not in table
    assert table.keys() == {*bench.ledger}


def keep(table: dict[int, dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Take a sync's rows as `append_dedup` does: of an Id the greatest cursor, none if deleted."""
    for row in sorted(rows, key=lambda row: int(row[CURSOR])):
        if (before := table.get(row["Id"])) is None or before[CURSOR] < row[CURSOR]:
            table[row["Id"]] = row
    for record_id in [i for i, row in table.items() if row[DELETED] is not None]:
        del table[record_id]


def test_a_tombstone_is_blank_but_for_id_and_marks(source: Source, bench: Bench) -> None:
    ids = list(bench.ledger)
    first = source.read(on_missing_record="tombstone")
    bench.ledger.delete(ids[4])

    second = source.read(state=first.state, record_ids=ids, on_missing_record="tombstone")

    (row,) = second.rows()
    assert {name for name, value in row.items() if value is not None} == {"Id", CURSOR, DELETED}
    assert row["Id"] == ids[4]
    assert str(ids[4]) not in unpack(second.states()[-1]["emitted"])


def test_only_one_version_of_an_id_comes_in_a_run(source: Source, bench: Bench) -> None:
    early = sorted(bench.ledger, key=lambda i: bench.expected(i)["UpdatedOn"])[:3]

    def change(_: Any) -> None:
        for record_id in early:
            bench.ledger.change(record_id, CreditUsed=1)

    settings = {"record_ids": None, "page_size": 20, "lookback_hours": 0}
    bench.world.turmoil = Turmoil(ordered=[lambda _: None, change])
    first = source.read(**settings)
    bench.world.turmoil = None
    second = source.read(state=first.state, **settings)

    assert len(first.ids()) == len({*first.ids()})
    assert set(early) <= {*first.ids()}
    assert sorted(second.ids()) == sorted(early)
    assert {row["CreditUsed"] for row in second.rows()} == {1}
    assert source.read(state=second.state, **settings).rows() == []


def test_deselected_fields_stay_out(source: Source) -> None:
    rows = source.read(fields=["CreditUsed", "UpdatedOn"]).rows()

    assert {frozenset(row) for row in rows} == {
        frozenset({"Id", "CreditUsed", "UpdatedOn", CURSOR, DELETED})
    }


@WAYS
def test_one_streams_failure_does_not_cost_the_other(
    make_bench: Callable[..., Bench], way: dict[str, Any]
) -> None:
    lacking = {ALLOWANCES.read_role, ALLOWANCES.list_role}
    bench = make_bench(60, allowances=90, user=User(roles=frozenset(ROLES - lacking)))

    said = Source(bench).read(*BOTH, **way)

    assert said.code == 1
    assert sorted(said.ids()) == sorted(bench.ledger)
    assert said.statuses()[-1] == "COMPLETE"
    assert said.statuses(ALLOWANCES.stream)[-1] == "INCOMPLETE"
    (error,) = said.errors
    assert error["failure_type"] == "config_error"
    assert error["stream_descriptor"] == {"name": ALLOWANCES.stream}
    assert "CoworkerExtraService-" in error["message"]


@pytest.mark.parametrize(
    ("fault", "settings", "failure_type"),
    [
        ({}, {"password": "not the one"}, "config_error"),
        ({"status": 500, "times": None}, {"max_retries": 1}, "transient_error"),
        ({"kind": "reset", "times": None}, {"max_retries": 1}, "transient_error"),
        (
            {"status": 409, "headers": {"Retry-After": "60"}, "endpoints": ["many"]},
            {"max_throttle_wait": 1},
            "transient_error",
        ),
    ],
    ids=str,
)
def test_what_ends_a_read_is_told_once_with_who_has_to_act(
    source: Source, fault: dict[str, Any], settings: dict[str, Any], failure_type: str
) -> None:
    if fault:
        source.bench.world.faults.append(Fault(**fault))

    said = source.read(**settings)

    assert said.code == 1
    assert [error["failure_type"] for error in said.errors] == [failure_type]
    assert said.statuses() == ["STARTED", "INCOMPLETE"]
    assert "not the one" not in str(said.messages)
    assert said.stderr == ""


def test_a_record_that_breaks_the_schema_is_ours_to_mend(source: Source, bench: Bench) -> None:
    bench.ledger.change(list(bench.ledger)[2], CreditUsed="twelve")

    said = source.read()

    (error,) = said.errors
    assert error["failure_type"] == "system_error"
    assert said.code == 1


def test_after_a_failure_the_state_covers_what_was_written(source: Source, bench: Bench) -> None:
    # Whatever is asked for one by one fails, from the third batch on.
    fault = Fault(status=500, endpoints=("many", "one"), skip=2, times=None)
    bench.world.faults.append(fault)
    settings = {"batch_size": 10, "max_retries": 1, "max_concurrent_requests": 1}
    first = source.read(**settings)
    bench.world.faults.clear()
    second = source.read(state=first.state, **settings)

    assert first.code == 1
    assert len(first.ids()) == 20
    counted(first)
    assert first.ids() + second.ids() == list(bench.ledger)


# Full refresh


@WAYS
def test_a_full_refresh_brings_all_again(source: Source, way: dict[str, Any]) -> None:
    first = source.read(**way)

    again = source.read(state=first.state, mode="full_refresh", **way)
    once_more = source.read(state=again.state, mode="full_refresh", **way)

    assert sorted(again.ids()) == sorted(once_more.ids()) == sorted(first.ids())
    assert "full_refresh" not in again.states()[-1]
    assert source.read(state=again.state, **way).rows() == []


@WAYS
def test_a_full_refresh_resumes_where_it_is_unfinished(
    source: Source, bench: Bench, way: dict[str, Any]
) -> None:
    endpoints = ("search",) if way else ("many", "one", "me")
    fault = Fault(status=500, endpoints=endpoints, skip=2, times=None)
    settings = {"batch_size": 10, "page_size": 10, "max_retries": 1, "max_concurrent_requests": 1}
    bench.world.faults.append(fault)
    first = source.read(mode="full_refresh", **settings, **way)
    bench.world.faults.clear()
    second = source.read(state=first.state, mode="full_refresh", **settings, **way)

    assert first.code == 1
    assert 0 < len(first.ids()) < len(bench.ledger)
    assert first.states()[-1]["full_refresh"] is True
    assert sorted(first.ids() + second.ids()) == sorted(bench.ledger)
    assert "full_refresh" not in second.states()[-1]


def test_an_unfinished_refresh_is_no_beginning_of_an_incremental_read(
    source: Source, bench: Bench
) -> None:
    """Its rows may wait where no table shows them, for a refresh that ends well."""
    fault = Fault(status=500, endpoints=("many", "one", "me"), skip=2, times=None)
    settings = {"batch_size": 10, "max_retries": 1, "max_concurrent_requests": 1}
    bench.world.faults.append(fault)
    first = source.read(mode="full_refresh", **settings)
    bench.world.faults.clear()
    second = source.read(state=first.state, **settings)

    assert 0 < len(first.ids()) < len(bench.ledger)
    assert sorted(second.ids()) == sorted(bench.ledger)
    assert min(row[CURSOR] for row in second.rows()) > first.states()[-1]["cursor"]
    assert source.read(state=second.state, **settings).rows() == []


def test_a_full_refresh_that_finds_nothing_does_not_empty_the_table(
    make_bench: Callable[..., Bench],
) -> None:
    said = Source(make_bench(0)).read(mode="full_refresh", record_ids=None)

    assert said.code == 1
    assert said.statuses()[-1] == "INCOMPLETE"
    assert "found nothing" in said.errors[0]["message"]


@WAYS
def test_a_full_refresh_says_what_it_left_out(
    source: Source, bench: Bench, way: dict[str, Any]
) -> None:
    bench.ledger.change(list(bench.ledger)[2], CreditUsed="twelve")

    said = source.read(mode="full_refresh", on_invalid_record="warn", **way)
    whole = source.read(mode="full_refresh", record_ids=list(bench.ledger)[5:9])

    assert said.code == 0
    assert "this full refresh left records out" in said.logs
    assert "left records out" not in whole.logs


def test_a_full_refresh_has_an_allowance_whose_use_get_many_keeps_back(
    make_bench: Callable[..., Bench], kept_back: set[int]
) -> None:
    """Else the allowance, which is there, would go from a table that is replaced."""
    bench = make_bench(100, allowances=90)
    record_ids = list(bench.ledger)
    allowance = bench.allowances.insert()["Id"]
    bench.ledger.change(record_ids[-1], CoworkerExtraServiceId=allowance)
    # So many that get one is asked about some of them only, where nothing depends on it.
    for record_id in record_ids[:40]:
        bench.ledger.delete(record_id)
    kept_back.add(record_ids[-1])

    said = Source(bench).read(
        ALLOWANCES.stream, mode="full_refresh", record_ids=record_ids, batch_size=50
    )

    assert allowance in said.ids(ALLOWANCES.stream)
    assert said.statuses(ALLOWANCES.stream)[-1] == "COMPLETE"


# Ends by signals, and readers that are gone


def start(
    source: Source, stdout: int | IO[bytes] = subprocess.PIPE, **settings: Any
) -> subprocess.Popen[bytes]:
    source.prepare(**settings)
    command = [sys.executable, "-m", "tap_nexudus_usage.airbyte.cli", *READ]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_state_and_by_itself(
    source: Source, bench: Bench, signum: signal.Signals
) -> None:
    bench.world.faults.append(Fault("hang", endpoints=("many",), skip=2, times=None))
    output = Path("output.jsonl")
    with (
        output.open("wb") as stdout,
        start(source, stdout, batch_size=10, max_concurrent_requests=1) as process,
    ):
        # What came before the third batch is handed over while that is waited for.
        try:
            wait_until(lambda: output.read_bytes().count(b'"type":"RECORD"') == 20)
            process.send_signal(signum)
            process.communicate(timeout=30)
        finally:
            process.kill()

    assert process.returncode == -signum
    said = Said(process.returncode, "", parsed(output.read_text(encoding="utf-8")))
    assert len(said.ids()) == 20
    counted(said)
    assert said.statuses()[-1] == "INCOMPLETE"
    bench.world.faults.clear()
    assert said.ids() + source.read(state=said.state).ids() == list(bench.ledger)


def test_it_ends_though_its_reader_has_stopped_reading(make_bench: Callable[..., Bench]) -> None:
    source = Source(make_bench(3_000))
    with start(source) as process:
        assert process.stdout is not None
        process.stdout.read(1_000)
        pipe = process.stdout.fileno()
        wait_until(lambda: is_full(pipe))
        process.terminate()
        code = process.wait(timeout=30)
        process.stdout.close()

    assert code == -signal.SIGTERM


def test_a_reader_that_goes_away_ends_it(make_bench: Callable[..., Bench]) -> None:
    source = Source(make_bench(3_000))
    with start(source) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1_000)
        process.stdout.close()
        code = process.wait(timeout=60)
        told = process.stderr.read().decode()

    assert code == 1
    assert "stopped reading" in told
    assert "Traceback" not in told


def test_a_full_disk_leaves_no_half_line_before_another(source: Source) -> None:
    source.prepare()
    out = Path("out.jsonl")
    stderr = Drain()
    fd = os.open(out, os.O_CREAT | os.O_WRONLY)
    order = Order(READ, protocol="airbyte", largest_file=9_000)
    server = shared_tap_server()
    server.start(order, fd, stderr.write_end)
    os.close(fd)
    os.close(stderr.write_end)

    assert server.exit_code() == 1
    assert "can't be written" in stderr.finish().decode()
    *whole, last = out.read_bytes().split(b"\n")
    assert len(out.read_bytes()) == 9_000
    assert last
    assert all(line.startswith(b"{") for line in whole)


def test_a_state_comes_from_time_to_time_though_nothing_is_new(source: Source) -> None:
    first = source.read()
    said = read_with_states_at_every_turn(source, STREAM, state=first.state)
    assert len(said.of("STATE")) > 1
    assert said.rows() == []
    counted(said)


def test_no_state_of_a_stream_follows_its_end(source: Source) -> None:
    said = read_with_states_at_every_turn(source, *BOTH)

    told = [
        message["state"]["stream"]["stream_descriptor"]["name"]
        if message["type"] == "STATE"
        else "its end"
        for message in said.messages
        if message["type"] == "STATE"
        or message.get("trace", {}).get("stream_status", {}).get("status") == "COMPLETE"
    ]
    assert told.count("its end") == 2
    assert set(told[: told.index("its end")]) == {STREAM}
    assert STREAM not in told[told.index("its end") :]


def read_with_states_at_every_turn(source: Source, *streams: str, state: Any = None) -> Said:
    source.prepare(*streams, state=state)
    script = (
        "import sys; from tap_nexudus_usage.airbyte import cli, reading; "
        "reading.STATE_SECONDS = 0.0; sys.exit(cli.main(sys.argv[1:]))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, *READ], capture_output=True, check=True, timeout=60
    )
    return Said(0, "", parsed(finished.stdout.decode()))


def test_an_unknown_command_or_option_is_one_message() -> None:
    for args in (["write"], [], ["read", "--config", "x"], ["check"], ["spec", "--nothing"]):
        said = say(args)

        assert said.code == 1
        (message,) = said.messages
        assert message["trace"]["error"]["failure_type"] == "config_error"
