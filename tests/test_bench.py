"""The bench runs through, and counts no run whose output is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import Bench

from bench import summary
from bench.allowance import earliest, least_seconds, seconds_taken, shares_used
from bench.checking import Expected, check, expect, last_state
from bench.processes import BenchError, run
from bench.results import COLUMNS
from bench.server import serve
from bench.workloads import ALL, DEFAULT, QUICK, Workload
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER, Entity
from tap_nexudus_usage.sandbox import literals
from tap_nexudus_usage.sandbox.throttle import GENERAL, Throttle

PROJECT = Path(__file__).parents[1]
OF_THE_THROTTLE = {"throttled", "limit_share", "pace", "least_pace"}


@pytest.mark.wide
def test_the_quick_bench_fills_every_column_and_draws_both_plots(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--repeat", "1", "--into", tmp_path],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))

    assert {"cpu", "cores", "python", "date", "singer-sdk"} <= results["machine"].keys()
    assert [workload["name"] for workload in results["workloads"]] == [w.name for w in QUICK]
    for workload in results["workloads"]:
        for contender in workload["contenders"]:
            assert f"| {workload['name']} | {contender['name']}" in finished.stdout
            if contender["why_none"] is not None:
                continue
            assert contender["median"].keys() == set(COLUMNS)
            assert contender["ratios"].keys() == {"wall", "cpu"}
            is_throttled = workload["name"].startswith("throttled")
            for sample in contender["samples"]:
                assert all(sample[name] > 0 for name in COLUMNS if name not in OF_THE_THROTTLE)
                assert (sample["least_pace"] > 0) is is_throttled
                assert 0 < sample["limit_share"] < 1 or not is_throttled
    assert results["workloads"][0]["sandbox"]["calls_per_second"] > 0
    assert "µs a record" in finished.stdout
    assert len(results["start_up"]) == 4
    written = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert written.partition("\n\n")[2].strip() in finished.stdout
    for name in ("time_over_ids.png", "allowance.png"):
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 100_000


def test_documents_say_what_the_results_do() -> None:
    table = summary.summary(json.loads(summary.RESULTS.read_text(encoding="utf-8")))

    assert len(table.splitlines()) > 2
    assert summary.documents()
    for file in summary.documents():
        text = file.read_text(encoding="utf-8")
        assert summary.updated(text, table) == text, "python -m bench.summary writes it anew"


def test_what_is_shown_is_measured_by_default() -> None:
    assert summary.SHOWN.keys() <= {workload.name for workload in DEFAULT}


@pytest.mark.parametrize("tls", [False, True])
def test_the_connections_of_others_are_counted(tmp_path: Path, *, tls: bool) -> None:
    with serve(Workload("any", 3, tls=tls), tmp_path) as server:
        trusted = server.variables.get("REQUESTS_CA_BUNDLE")
        server.forget_calls()
        for _ in range(2):
            requests.get(f"{server.url}/api/auth/me", timeout=10, verify=trusted)
        counted = server.count_calls()

    assert server.url.startswith("https:") is tls
    assert counted["connections"] == counted["all"] == 2


def test_a_table_goes_where_it_is_due() -> None:
    text = f"before\n{summary.BEGIN}\nold\n{summary.END}\nafter\n"

    written = summary.updated(text, "| a |")

    assert written == f"before\n{summary.BEGIN}\n| a |\n{summary.END}\nafter\n"
    assert summary.updated(written, "| a |") == written
    with pytest.raises(ValueError, match="has no"):
        summary.updated(f"before\n{summary.BEGIN}\n", "| a |")


def test_workloads_have_names_of_their_own() -> None:
    assert len({workload.name for workload in ALL}) == len(ALL)


Rows = dict[Entity, list[dict[str, Any]]]


@pytest.fixture
def both(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(allowances=20)


def rows_of(bench: Bench) -> Rows:
    tables = {entity: bench.world.table(entity) for entity in (LEDGER, ALLOWANCES)}
    return {
        entity: [dict(table.get(record_id) or {}) for record_id in table]
        for entity, table in tables.items()
    }


def expect_all(sent: Rows) -> Expected:
    return {e.stream: expect(e, map(literals.encode, rows)) for e, rows in sent.items()}


def output_of(written: Rows, folder: Path) -> Path:
    messages: list[dict[str, Any]] = [
        {"type": "RECORD", "stream": entity.stream, "record": row}
        for entity, rows in written.items()
        for row in rows
    ]
    state = {"type": "STATE", "value": {"at": len(messages)}}
    output = folder / "contender.jsonl"
    output.write_bytes(b"".join(literals.encode(m) + b"\n" for m in [*messages, state]))
    return output


def test_the_same_records_written_otherwise_are_right(both: Bench, tmp_path: Path) -> None:
    rows = rows_of(both)
    expected = expect_all(rows)
    backwards = {entity: rows[entity][::-1] for entity in (ALLOWANCES, LEDGER)}
    as_the_tap_writes_them = {
        entity: [both.expected(row["Id"], entity) for row in rows[entity]] for entity in rows
    }
    as_floats: Rows = json.loads(literals.encode(rows[ALLOWANCES]))

    for written in (rows, backwards, as_the_tap_writes_them, {**rows, ALLOWANCES: as_floats}):
        states = check(output_of(written, tmp_path), expected)
        assert json.loads(last_state(states.splitlines())) == {"at": 40}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda rows: rows[LEDGER].pop(), "lacks 1 records"),
        (lambda rows: rows[LEDGER].append(rows[LEDGER][0]), "a second time"),
        (lambda rows: rows[LEDGER].append({**rows[LEDGER][0], "Id": 5}), "although not expected"),
        (lambda rows: rows[LEDGER][0].update(CreditUsed=12_345), "otherwise than the sandbox"),
        (lambda rows: rows[LEDGER][0].update(UpdatedOn="2025-01-01T00:00:00.1Z"), "otherwise"),
        (lambda rows: rows.pop(ALLOWANCES), "lacks 20 records of coworker_extra_services"),
        (lambda rows: rows[ALLOWANCES][0].update(Price=12.11), "otherwise than the sandbox"),
        (lambda rows: rows[LEDGER].append(rows[ALLOWANCES].pop()), "although not expected"),
    ],
)
def test_wrong_output_is_not_counted(
    both: Bench, tmp_path: Path, spoil: Callable[[Rows], object], words: str
) -> None:
    rows = rows_of(both)
    expected = expect_all(rows)
    spoil(rows)

    with pytest.raises(BenchError, match=words):
        check(output_of(rows, tmp_path), expected)


def test_a_run_that_fails_is_not_counted(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"(?s)ended with 3.*so it goes"):
        run(
            [sys.executable, "-c", "import sys; print('so it goes', file=sys.stderr); sys.exit(3)"],
            tmp_path / "out",
        )


def test_a_process_is_measured_by_itself(tmp_path: Path) -> None:
    """Neither the size of this process nor what it did shows in a child's figures."""
    ballast = bytearray(b"x" * 200 * 2**20)
    small = run([sys.executable, "-c", "pass"], tmp_path / "out")
    large = run([sys.executable, "-c", f"bytearray(b'x' * {len(ballast)})"], tmp_path / "out")

    assert small.peak < 50
    assert large.peak > 200
    assert 0 < small.cpu < 10


def test_the_allowance_used_is_of_the_last_minute() -> None:
    calls = [{"status": 200, "time": 1_000 + second} for second in range(0, 120, 2)]
    calls.append({"status": 409, "time": 1_119.0})

    shares = shares_used(calls)

    # A call each two seconds is 30 a minute, of 120.
    assert shares[0] == pytest.approx(1 / 120)
    assert shares[6] == pytest.approx(16 / 120)
    assert shares[-1] == pytest.approx(31 / 120)


@pytest.mark.parametrize("calls", [1, 2, 52, 101, 121, 600, 5_001])
def test_the_least_time_is_what_the_published_throttle_lets_through(calls: int) -> None:
    times = earliest(calls)
    assert times[-1] == least_seconds(calls)
    for hurry in (0.0, 0.05):
        now = iter([second - hurry * (number == calls - 1) for number, second in enumerate(times)])
        throttle = Throttle(lambda now=now: next(now), [(most, s - 1e-6) for most, s in GENERAL])

        waits = [throttle.seconds_to_wait() for _ in times]

        assert waits[:-1] == [None] * (calls - 1)
        assert (waits[-1] is None) is (not hurry or calls == 1)


def test_the_time_taken_is_between_calls_let_through() -> None:
    calls = [{"status": status, "time": time} for status, time in ((409, 1), (200, 3), (404, 8))]

    assert seconds_taken(calls) == 5
    assert seconds_taken([]) == 0
