"""`--test`, and what `meltano config test` does: what works, or the one thing to mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Bench, run_tap_with
from outcomes import Finished

from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import LIST, READ, User


def told(finished: Finished) -> list[str]:
    """What the tap says, the SDK's lines aside."""
    lines = finished.stderr.splitlines()
    return [line.rpartition("| ")[2] for line in lines if "| tap_nexudus_usage" in line]


def run_test(bench: Bench, **settings: Any) -> Finished:
    finished = run_tap_with(bench.settings(**settings), "--test")
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr
    return finished


def test_reading_by_id_is_tested_both_ways(bench: Bench) -> None:
    finished = run_test(bench)

    assert finished.code == 0
    assert told(finished) == [
        "Login: Nexudus has issued a token",
        f"Get one: the record with Id {next(iter(bench.ledger))} was read",
        "Get many: allowed; 2 of 2 Ids tried were read",
    ]
    assert bench.count_calls() == 3


def test_search_is_tested(bench: Bench) -> None:
    finished = run_test(bench, record_ids=None)

    assert finished.code == 0
    assert told(finished)[1:] == ["Search: allowed; the ledger holds 20 records"]


def test_an_empty_ledger_is_no_failure(make_bench: Callable[..., Bench]) -> None:
    finished = run_test(make_bench(0), record_ids=None)

    assert finished.code == 0
    assert told(finished)[1:] == ["Search: allowed; the ledger is empty"]


@pytest.mark.parametrize(
    ("roles", "record_ids", "role"), [({READ}, None, LIST), ({LIST}, [7], READ), (set(), [7], READ)]
)
def test_a_missing_role_is_a_failure(
    make_bench: Callable[..., Bench], roles: set[str], record_ids: list[int] | None, role: str
) -> None:
    bench = make_bench(user=User(roles=frozenset(roles)))

    finished = run_test(bench, record_ids=record_ids)

    assert finished.code == 1
    assert told(finished)[0] == "Login: Nexudus has issued a token"
    assert "Nexudus refuses access" in finished.last_line
    assert role in finished.last_line


def test_a_wrong_password_is_a_failure_of_the_login(bench: Bench) -> None:
    finished = run_test(bench, password="wrong")

    assert finished.code == 1
    assert len(told(finished)) == 1
    assert "Login failed" in finished.last_line


def test_an_id_that_does_not_exist_is_told_from_a_missing_role(bench: Bench) -> None:
    finished = run_test(bench, record_ids=[7])

    assert finished.code == 0
    assert "allowed, but there is no record with Id 7" in finished.last_line


def test_a_tenant_without_get_many_is_told_what_that_costs(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(user=User(roles=frozenset({READ})), get_many_role="List")

    finished = run_test(bench)

    assert finished.code == 0
    assert "Get many: refused, so Ids are read one by one" in finished.last_line


def test_a_ready_made_token_is_tested_by_reading(bench: Bench) -> None:
    finished = run_test(bench, username=None, password=None, access_token="old")

    assert finished.code == 1
    assert told(finished)[0] == "Login: the access token is used as it is"
    assert "the token isn't valid" in finished.last_line


def test_a_hanging_answer_is_given_up(bench: Bench) -> None:
    bench.world.faults.append(Fault("hang", endpoints=("one",)))

    finished = run_test(bench, request_timeout=0.5, max_retries=1)

    assert finished.code == 1
    assert "no answer within request_timeout" in finished.last_line


def test_the_test_of_the_schema_is_left_to_the_sdk(bench: Bench) -> None:
    finished = run_tap_with(bench.settings(), "--test=schema")

    assert finished.code == 0
    assert '"type":"SCHEMA"' in finished.stdout
    assert bench.count_calls() == 0
