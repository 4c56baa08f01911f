"""`--test` with a catalog that selects the allowances."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, run_tap_with
from outcomes import STREAM, Finished, catalog_of
from starlette.requests import Request
from starlette.responses import Response

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER
from tap_nexudus_usage.reading.minutes import BEGINNING
from tap_nexudus_usage.sandbox.api import EntityApi
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tenant import offset
from tap_nexudus_usage.sandbox.tokens import User

MOST_CALLS = 15
OF_ALLOWANCES = f" of {ALLOWANCES.stream}: "
ROLES = {role for entity in ENTITIES for role in (entity.read_role, entity.list_role)}


def run_test(bench: Bench, *streams: str, **settings: Any) -> Finished:
    Path("catalog.json").write_text(json.dumps(catalog_of(*streams)), encoding="utf-8")
    bench.count_calls()
    finished = run_tap_with(bench.settings(**settings), "--test", "--catalog", "catalog.json")
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr
    assert len(bench.world.calls) <= MOST_CALLS
    return finished


def of_allowances(finished: Finished) -> dict[str, str]:
    """What is said of the allowances, by what begins the line."""
    lines = [line for line in finished.stderr.splitlines() if OF_ALLOWANCES in line]
    return dict(line.rpartition("| ")[2].split(OF_ALLOWANCES) for line in lines)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(300, allowances=200)


def test_without_them_nothing_is_asked_of_the_allowances(bench: Bench) -> None:
    finished = run_test(bench, STREAM)

    assert finished.code == 0
    assert of_allowances(finished) == {}
    assert not [call for call in bench.world.calls if call.entity == ALLOWANCES]


def test_both_are_tested_by_search(bench: Bench) -> None:
    finished = run_test(bench, STREAM, ALLOWANCES.stream, record_ids=None)

    assert finished.code == 0
    assert of_allowances(finished) == {
        "Search": "allowed; 200 records, 1000 a page",
        "Get one": "allowed",
        "Schema": "200 records looked at; all have its fields and no others",
    }
    assert "First run: about 5 calls" in finished.stderr


def test_both_are_tested_by_id(bench: Bench) -> None:
    finished = run_test(bench, STREAM, ALLOWANCES.stream)

    assert finished.code == 0
    told = of_allowances(finished)
    assert told["Get one"].startswith("allowed")
    assert told["Get many"].startswith("/?id=[] is understood")
    assert "all have its fields and no others" in told["Schema"]


@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
def test_of_two_streams_each_line_says_which_it_is_about(bench: Bench, way: dict[str, Any]) -> None:
    finished = run_test(bench, STREAM, ALLOWANCES.stream, **way)

    lines = [line for line in finished.stderr.splitlines() if "| tap_nexudus_usage" in line]
    names = [line.rpartition("| ")[2].partition(":")[0] for line in lines]
    about = {STREAM, ALLOWANCES.stream}
    unnamed = [name for name in names if name.partition(" of ")[2] not in about]
    assert unnamed == ["Login", "Locations", "Throttle", "First run"]
    assert len(names) == len(set(names)) > 10


def test_the_allowances_alone_are_tested_as_thoroughly(bench: Bench) -> None:
    finished = run_test(bench, ALLOWANCES.stream, record_ids=None)

    assert finished.code == 0
    assert "Search: allowed; 200 records, 1000 a page" in finished.stderr
    assert "Bounds: a search keeps to the times asked for, and reads them in UTC" in finished.stderr
    assert not [call for call in bench.world.calls if call.entity not in {ALLOWANCES, None}]


def test_the_allowances_alone_need_the_ledger_that_names_them_by_id(bench: Bench) -> None:
    finished = run_test(bench, ALLOWANCES.stream)

    assert finished.code == 0
    assert of_allowances(finished)["Get many"].startswith("/?id=[] is understood")


@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
def test_a_role_that_only_the_allowances_lack_is_a_failure_after_all_else_is_told(
    make_bench: Callable[..., Bench], way: dict[str, Any]
) -> None:
    lacking = {ALLOWANCES.read_role, ALLOWANCES.list_role}
    bench = make_bench(300, allowances=200, user=User(roles=frozenset(ROLES - lacking)))

    finished = run_test(bench, STREAM, ALLOWANCES.stream, **way)

    assert finished.code == 1
    assert "First run: about" in finished.stderr
    assert f"{ALLOWANCES.stream}: Nexudus refuses access" in finished.last_line
    role = ALLOWANCES.list_role if way else ALLOWANCES.read_role
    assert role in finished.last_line
    assert "deselect" in finished.last_line
    assert "The login works for other calls, so the user lacks the role" in finished.last_line
    assert "set record_ids" not in finished.last_line
    assert run_test(bench, STREAM, **way).code == 0


@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
def test_a_role_that_only_the_ledger_lacks_leaves_the_allowances_tested(
    make_bench: Callable[..., Bench], way: dict[str, Any]
) -> None:
    lacking = {LEDGER.read_role, LEDGER.list_role}
    bench = make_bench(300, allowances=200, user=User(roles=frozenset(ROLES - lacking)))

    finished = run_test(bench, STREAM, ALLOWANCES.stream, **way)

    assert finished.code == 1
    assert f"{STREAM}: Nexudus refuses access" in finished.last_line
    assert "The login works for other calls, so the user lacks the role" in finished.last_line
    # By Id, the ledger names the allowances: there is no doing without.
    assert ("deselect" in finished.last_line) == bool(way)
    said = of_allowances(finished)
    assert said["Get one"] == ("allowed" if way else "left out, for no Id is known")
    assert said.get("Search") == ("allowed; 200 records, 1000 a page" if way else None)


def test_where_both_lack_their_roles_both_are_told(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(300, allowances=200, user=User(roles=frozenset()))

    finished = run_test(bench, STREAM, ALLOWANCES.stream, record_ids=None)

    assert finished.code == 1
    assert LEDGER.list_role in finished.last_line
    assert ALLOWANCES.list_role in finished.last_line
    assert "deselect" not in finished.last_line


@pytest.mark.crossing
@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
@pytest.mark.parametrize(
    "tenant",
    [
        {"dir_reading": "words", "clock": offset(5.75), "get_many_forms": {"filter"}},
        {"clock": offset(-11), "page_cap": 100, "cap_is_silent": True},
        {"get_many_forms": set(), "has_next_page": "always"},
    ],
    ids=str,
)
def test_of_an_odd_tenant_what_a_run_depends_on_is_told_of_both(
    make_bench: Callable[..., Bench], tenant: dict[str, Any], way: dict[str, Any]
) -> None:
    bench = make_bench(300, allowances=200, **tenant)

    finished = run_test(bench, STREAM, ALLOWANCES.stream, **way)

    assert finished.code == 0, finished.last_line
    assert "allowed" in of_allowances(finished)["Search" if way else "Get one"]


def test_a_gateway_before_the_allowances_is_a_failure(bench: Bench) -> None:
    fault = Fault(status=404, body="<html></html>", streams=(ALLOWANCES.stream,), times=None)
    bench.world.faults.append(fault)

    finished = run_test(bench, STREAM, ALLOWANCES.stream, record_ids=None)

    assert finished.code == 1
    assert f"{ALLOWANCES.stream}: The API fails" in finished.last_line


@pytest.mark.parametrize("place", [0, 6])
def test_nothing_is_said_after_the_line_that_says_why(
    make_bench: Callable[..., Bench], place: int
) -> None:
    bench = make_bench(20, allowances=20, user=User(roles=frozenset()))
    Path("catalog.json").write_text(json.dumps(catalog_of(STREAM)), encoding="utf-8")
    Path("config.json").write_text(json.dumps(bench.settings()), encoding="utf-8")
    Path("state.json").write_text("{}", encoding="utf-8")
    # In Meltano's order.
    options = ["--config", "config.json", "--catalog", "catalog.json", "--state", "state.json"]
    options.insert(place, "--test")

    finished = subprocess.run(
        # With warnings, as Meltano has it.
        [sys.executable, "-W", "once", "-m", "tap_nexudus_usage", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert finished.returncode == 1
    assert "Nexudus refuses access" in finished.stderr.splitlines()[-1]


def test_nothing_personal_is_said_of_the_allowances(bench: Bench) -> None:
    outputs = [
        run_test(bench, STREAM, ALLOWANCES.stream, **way).stderr
        for way in ({}, {"record_ids": None})
    ]

    texts = {
        str(value)
        for record_id in bench.allowances
        for name, value in (bench.allowances.get(record_id) or {}).items()
        if name in {"Id", "Notes", "Description", "UpdatedBy", "ExtraServiceName", "PurchaseOrder"}
    } - {"None"}
    assert texts
    for output in outputs:
        assert not [text for text in texts if text in output]


def test_no_bound_is_asked_for_that_some_servers_fail_on(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[str] = []
    search = EntityApi.search

    async def note_bound(api: EntityApi, request: Request) -> Response:
        query = request.query_params.items()
        bounds.extend(bound for name, bound in query if name.startswith("from_"))
        return await search(api, request)

    monkeypatch.setattr(EntityApi, "search", note_bound)
    bench = make_bench(300, allowances=200)

    run_test(bench, STREAM, ALLOWANCES.stream, record_ids=None)

    assert min(bounds) >= BEGINNING
