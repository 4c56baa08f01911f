"""`--test`: what works, what the tenant is like, or the one thing to mend; in a few calls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import Bench, run_tap_with
from outcomes import Finished

from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tenant import offset
from tap_nexudus_usage.sandbox.tokens import LIST, READ, User

MOST_CALLS = 15
FROM, TO = (f"{end}_{LEDGER.filter('UpdatedOn')}" for end in ("from", "to"))

PLAIN = {
    "Login": "allowed by password; the token lives 7 days, and is renewed in time",
    "Locations": "the user sees 2; records of those that the user doesn't see don't come, and no "
    "error says so",
    "Search": "allowed; 300 records, 1000 a page",
    "Order": "sorted by UpdatedOn; dir 0 ascends, as in the newest edition",
    "Stamps": "with Z, 0 to 7 fractional digits; read as UTC, the seventh digit is cut off",
    "Pages": "the page asked for comes, and as many records as asked for",
    "Bounds": "a search keeps to the times asked for, and reads them in UTC, as the stamps are",
    "Get one": "allowed",
    "Get many": "/?id=[] is understood; 200 of 200 Ids came",
    "Schema": "300 records looked at; all have its fields and no others",
    "Lists": "a record comes as whole by search as by Id",
    "Daylight saving": "none; half a year away the bounds are read in the same clock",
    "Without UpdatedOn": "no record",
    "Throttle": "none of 10 calls was throttled",
    "First run": "about 3 calls, less than a minute",
}
"""What is said of the sandbox as it is."""


@pytest.fixture
def make_tenant(make_bench: Callable[..., Bench]) -> Callable[..., Bench]:
    """Tenants of a ledger like the real ones, large enough to show what they are like."""

    def make(records: int = 300, *, by_id: bool = False, **options: Any) -> Bench:
        bench = make_bench(records, **options)
        if not by_id:
            bench.config["record_ids"] = None
        return bench

    return make


def told(finished: Finished) -> dict[str, str]:
    """What the tap says, the SDK's lines aside, by what begins the line."""
    lines = finished.stderr.splitlines()
    own = [line for line in lines if "| tap_nexudus_usage" in line and "| INFO" in line]
    pairs = [line.rpartition("| ")[2].partition(": ") for line in own]
    found: dict[str, str] = {}
    for name, _, text in pairs:
        found[name] = f"{found[name]}\n{text}" if name in found else text
    return found


def run_test(bench: Bench, **settings: Any) -> Finished:
    finished = run_tap_with(bench.settings(**settings), "--test")
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr
    assert len(bench.world.calls) <= MOST_CALLS
    return finished


def differences(finished: Finished) -> Mapping[str, str]:
    """What is otherwise than with the plain tenant; what a longer test costs is not."""
    costs = {"Throttle", "First run", "Without UpdatedOn"}
    lines = {name: text for name, text in told(finished).items() if name not in costs}
    return {name: text for name, text in lines.items() if text != PLAIN[name]}


def test_a_plain_tenant_is_told_in_fewer_calls(make_tenant: Callable[..., Bench]) -> None:
    bench = make_tenant()

    finished = run_test(bench)

    assert finished.code == 0
    assert told(finished) == PLAIN
    assert bench.count_calls() == 10


def test_reading_by_id_is_tested_first_where_ids_are_configured(
    make_tenant: Callable[..., Bench],
) -> None:
    bench = make_tenant(by_id=True)

    finished = run_test(bench)

    assert finished.code == 0
    assert [*told(finished)][2:5] == ["Get one", "Get many", "Search"]
    assert differences(finished) == {}
    assert told(finished)["First run"].startswith("about 3 calls")
    assert bench.count_calls() == 9


@pytest.mark.crossing
@pytest.mark.parametrize("way", ["search", "id"])
@pytest.mark.parametrize(
    ("tenant", "expected"),
    [
        ({"dir_reading": "old"}, {"Order": "dir 1 ascends, as in an older edition"}),
        ({"dir_reading": "words"}, {"Order": "dir ascending ascends, as in the oldest edition"}),
        ({"clock": offset(2)}, {"Bounds": "reads them in the clock UTC+02:00"}),
        ({"clock": offset(-11.5)}, {"Bounds": "reads them in the clock UTC-11:30"}),
        ({"clock": offset(14)}, {"Bounds": "reads them in the clock UTC+14:00"}),
        ({"clock": offset(-14)}, {"Bounds": "reads them in the clock UTC-14:00"}),
        (
            {"clock": ZoneInfo("Pacific/Auckland")},
            {"Bounds": "UTC+13:00", "Daylight saving": "an hour behind this one"},
        ),
        (
            {"clock": ZoneInfo("America/New_York")},
            {"Bounds": "UTC-05:00", "Daylight saving": "an hour ahead of this one"},
        ),
        ({"clock": ZoneInfo("Europe/Lisbon")}, {"Daylight saving": "ahead of this one"}),
        ({"page_cap": 100}, {"Search": "at most 100 a page, where 1000 were asked for"}),
        (
            {"page_cap": 100, "cap_is_silent": True},
            {"Search": "at most 100 a page", "Pages": "go by the size asked for, though fewer"},
        ),
        ({"has_next_page": "always"}, {"Pages": "HasNextPage is wrong"}),
        ({"has_next_page": "never"}, {"Pages": "HasNextPage is wrong"}),
        ({"has_next_page": "null"}, {"Pages": "HasNextPage is wrong"}),
        ({"ignored": frozenset({"size"})}, {"Search": "at most 25", "Pages": "size is ignored"}),
        ({"get_many_forms": {"filter"}}, {"Get many": "?…_Id=[] is understood; 200 of 200"}),
        ({"get_many_forms": set()}, {"Get many": "neither /?id=[] nor ?…_Id=[] is understood"}),
        (
            {"blank_in_lists": {"UniqueId", "ToStringText"}},
            {"Lists": "a search leaves empty ToStringText, UniqueId, which then arrive as null"},
        ),
        (
            {"blank_in_lists": {"UniqueId"}, "lists": "pages and arrays"},
            {"Lists": "get many leaves empty UniqueId, which then arrive as null; with batch_size"},
        ),
        ({"stamps_end_in_z": False}, {"Stamps": "without Z, 0 to 7 fractional digits"}),
        ({"byte_order_mark": True}, {}),
        ({"token_status": 201}, {}),
    ],
    ids=" ".join,
)
def test_what_is_different_about_a_tenant_is_told(
    make_tenant: Callable[..., Bench], tenant: dict[str, Any], expected: dict[str, str], way: str
) -> None:
    finished = run_test(make_tenant(by_id=way == "id", **tenant))

    assert finished.code == 0, finished.last_line
    # A smaller page shows fewer records to look at.
    sizes = {"Search", "Schema", "Get many"} if "Search" in expected else set()
    assert differences(finished).keys() - sizes <= expected.keys()
    for name, text in expected.items():
        assert text in told(finished)[name]


@pytest.mark.parametrize(
    ("ignored", "reason"),
    [
        ("page", "it seems to ignore the parameter"),
        ("orderBy", "doesn't sort by UpdatedOn"),
        (FROM, "doesn't keep to its bounds"),
        (TO, "doesn't keep to its bounds"),
    ],
)
def test_a_search_that_cannot_work_fails_the_test_unless_ids_are_configured(
    make_tenant: Callable[..., Bench], ignored: str, reason: str
) -> None:
    bench = make_tenant(ignored=frozenset({ignored}))

    finished, by_id = run_test(bench), run_test(bench, record_ids=[*bench.ledger][:3])

    assert finished.code == 1
    assert reason in finished.last_line
    assert by_id.code == 0
    assert reason in told(by_id)["Search"]


def test_a_page_that_comes_again_is_told_though_it_has_no_number(
    make_tenant: Callable[..., Bench],
) -> None:
    bench = make_tenant(30)
    records = sorted(
        (bench.ledger.get(record_id) or {} for record_id in bench.ledger),
        key=lambda record: record["UpdatedOn"],
    )
    for shown in (records, records[:10]):
        body = json.dumps({"Records": shown, "TotalItems": 30, "HasNextPage": False})
        bench.world.faults.append(Fault(status=200, body=body, endpoints=("search",)))

    finished = run_test(bench)

    assert finished.code == 1
    assert "it seems to ignore the parameter" in finished.last_line


@pytest.mark.parametrize("hours", [-5, 0, 2])
def test_few_records_and_crowded_minutes_are_no_failure(
    make_tenant: Callable[..., Bench], hours: float
) -> None:
    for records in (1, 2, 3, 4):
        assert run_test(make_tenant(records, clock=offset(hours))).code == 0
    bench = make_tenant(60, clock=offset(hours), ties="turning")
    for number, record_id in enumerate(bench.ledger):
        minute = 30 if number > 3 else 10 * number
        bench.ledger.change(record_id, UpdatedOn=f"2025-01-15T10:{minute:02}:00Z")

    finished = run_test(bench)

    assert finished.code == 0
    assert "equal stamps come in another order on another page" in told(finished)["Pages"]
    assert ("UTC" in told(finished)["Bounds"]) or "doesn't show" in told(finished)["Bounds"]


def test_a_dense_ledger_on_small_pages_shows_its_clock(make_tenant: Callable[..., Bench]) -> None:
    bench = make_tenant(500, page_cap=20, clock=offset(-3))
    for number, record_id in enumerate(bench.ledger):
        stamp = f"2025-01-{15 + number // 240:02}T{number // 10 % 24:02}:{number % 10 * 6:02}:00Z"
        bench.ledger.change(record_id, UpdatedOn=stamp)

    assert "UTC-03:00" in told(run_test(bench))["Bounds"]


@pytest.mark.parametrize("record_ids", [None, [7, 8]])
def test_an_empty_ledger_is_no_failure(
    make_tenant: Callable[..., Bench], record_ids: list[int] | None
) -> None:
    finished = run_test(make_tenant(0), record_ids=record_ids)

    assert finished.code == 0
    assert told(finished)["Search"] == "allowed; there are no records"
    assert ("there is no such record" in told(finished)["Get one"]) == bool(record_ids)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("roles", "record_ids", "role"), [({READ}, None, LIST), ({LIST}, [7], READ), (set(), [7], READ)]
)
def test_a_missing_role_that_is_needed_is_a_failure(
    make_tenant: Callable[..., Bench],
    roles: set[str],
    record_ids: list[int] | None,
    role: str,
    status: int,
) -> None:
    bench = make_tenant(user=User(roles=frozenset(roles)), missing_role_status=status)

    finished = run_test(bench, record_ids=record_ids)

    assert finished.code == 1
    assert [*told(finished)] == ["Login", "Locations"]
    assert "Nexudus refuses access" in finished.last_line
    assert role in finished.last_line


@pytest.mark.parametrize("get_many_role", ["Read", "List"])
@pytest.mark.parametrize("role", [READ, LIST])
def test_a_missing_role_that_is_not_needed_is_told(
    make_tenant: Callable[..., Bench], role: str, get_many_role: str
) -> None:
    bench = make_tenant(
        by_id=role == READ, user=User(roles=frozenset({role})), get_many_role=get_many_role
    )

    finished = run_test(bench, requests_per_minute=120)

    assert finished.code == 0
    refused, other = ("Search", LIST) if role == READ else ("Get one", READ)
    assert told(finished)[refused] == f"refused; it needs the role {other}, and a run works without"
    if role == READ and get_many_role == "List":
        assert "refused; it needs the role" in told(finished)["Get many"]
        assert told(finished)["First run"].startswith("about 301 calls, about 2 minutes")


def test_a_wrong_password_is_a_failure_of_the_login(bench: Bench) -> None:
    finished = run_test(bench, password="wrong")

    assert finished.code == 1
    assert told(finished) == {}
    assert "Login failed" in finished.last_line


def test_a_ready_made_token_is_tested_by_reading(bench: Bench) -> None:
    finished = run_test(bench, username=None, password=None, access_token="old")

    assert finished.code == 1
    assert told(finished)["Login"].startswith("access_token is used as it is")
    assert "the token isn't valid, so check access_token" in finished.last_line


@pytest.mark.parametrize("lifetime", [1_209_600, 5_400, 600, 45, 0])
def test_the_life_of_a_token_is_told(make_tenant: Callable[..., Bench], lifetime: int) -> None:
    bench = make_tenant(20)
    bench.world.tokens.alter = lambda grant: {**grant, "expires_in": lifetime}

    told_of_login = told(run_test(bench))["Login"]

    spans = {1_209_600: "14 days", 5_400: "90 minutes", 600: "10 minutes", 45: "45 seconds"}
    assert spans.get(lifetime, "isn't told") in told_of_login


def test_where_the_api_does_not_tell_of_the_user_the_test_goes_on(
    make_tenant: Callable[..., Bench],
) -> None:
    bench = make_tenant()
    bench.world.faults.append(Fault(status=404, endpoints=("me",), times=None))

    finished = run_test(bench)

    assert finished.code == 0
    assert told(finished)["Locations"].startswith("not told")


@pytest.mark.parametrize("body", ["", "<html><h1>404</h1></html>"])
@pytest.mark.parametrize("record_ids", [None, [7], [7, 8, 9]])
def test_a_gateway_that_answers_404_to_everything_is_not_green(
    make_tenant: Callable[..., Bench], record_ids: list[int] | None, body: str
) -> None:
    bench = make_tenant()
    everything = ("one", "many", "search", "me")
    bench.world.faults.append(Fault(status=404, body=body, endpoints=everything, times=None))

    finished = run_test(bench, record_ids=record_ids)

    assert finished.code == 1
    assert "Check api_url and any proxy" in finished.last_line


def test_a_hanging_answer_is_given_up(bench: Bench) -> None:
    bench.world.faults.append(Fault("hang", endpoints=("one",)))

    finished = run_test(bench, request_timeout=0.1, max_retries=1, record_ids=[7])

    assert finished.code == 1
    assert "no answer within request_timeout" in finished.last_line


@pytest.mark.parametrize("status", [409, 500])
def test_no_more_than_fifteen_calls_are_made_whatever_comes(
    make_tenant: Callable[..., Bench], status: int
) -> None:
    bench = make_tenant()
    headers = {"Retry-After": "1"}
    fault = Fault(status=status, headers=headers, endpoints=("search",), times=None)
    bench.world.faults.append(fault)

    finished = run_test(bench, max_retries=20)

    assert finished.code == 1
    assert len(bench.world.calls) == MOST_CALLS
    assert f"{MOST_CALLS} calls" in finished.last_line
    assert "Try again later" in finished.last_line


def test_what_is_left_out_for_the_number_of_calls_is_told(
    make_tenant: Callable[..., Bench],
) -> None:
    bench = make_tenant(dir_reading="words", clock=offset(5.75), get_many_forms={"filter"})

    finished = run_test(bench)

    assert finished.code == 0
    assert len(bench.world.calls) == MOST_CALLS
    assert told(finished)["Without UpdatedOn"] == "left out, for 15 calls were made"


def test_throttled_calls_are_told(make_tenant: Callable[..., Bench]) -> None:
    bench = make_tenant()
    fault = Fault(status=409, headers={"Retry-After": "30"}, endpoints=("search",), times=2)
    bench.world.faults.append(fault)

    line = told(run_test(bench))["Throttle"]

    assert re.match(r"2 of 12 calls were throttled, \d+ s of waiting", line)


def test_records_that_a_search_cannot_find_are_counted(make_tenant: Callable[..., Bench]) -> None:
    bench = make_tenant()
    for record_id in [*bench.ledger][:3]:
        bench.ledger.change(record_id, UpdatedOn=None)

    assert told(run_test(bench))["Without UpdatedOn"].startswith("3 records, which a search")


def test_fields_that_break_the_schema_are_named_without_their_values(
    make_tenant: Callable[..., Bench],
) -> None:
    bench = make_tenant()
    ids = [*bench.ledger]
    bench.ledger.change(ids[0], CreditUsed="a secret", UpdatedOn="2024-05-01T00:00:00Z")
    bench.ledger.change(ids[1], CreatedOn="a secret day", UpdatedOn="2024-05-02T00:00:00Z")
    bench.ledger.change(ids[2], Surprise="a secret", UpdatedOn="2024-05-03T00:00:00Z")
    del (bench.ledger.get(ids[3]) or {})["SystemId"]

    finished = run_test(bench)

    assert finished.code == 0
    line = told(finished)["Schema"]
    assert "SystemId missing" in line
    assert "Surprise unknown, which is dropped" in line
    assert "CreditUsed should be integer or null but is string" in line
    assert "CreatedOn should be a date-time but is string" in line
    assert "secret" not in finished.stderr


def test_nothing_personal_is_said(make_tenant: Callable[..., Bench]) -> None:
    bench = make_tenant(blank_in_lists={"BookingResourceName"}, by_id=True)
    contradiction = {"Records": [bench.ledger.get(i) for i in bench.ledger], "TotalItems": 3}
    fault = Fault(status=200, body=json.dumps(contradiction), endpoints=("search",), times=None)
    texts = {
        str(value)
        for record_id in bench.ledger
        for name, value in (bench.ledger.get(record_id) or {}).items()
        if isinstance(value, str) or name == "Id"
    }

    outputs = [run_test(bench).stderr]
    bench.count_calls()
    bench.world.faults.append(fault)
    outputs += [run_test(bench, max_retries=2).stderr]
    bench.count_calls()
    outputs += [run_test(bench, max_retries=2, record_ids=None).stderr]

    for output in outputs:
        assert bench.world.user.username not in output
        assert "Location 1" not in output
        assert not [text for text in texts if text in output]
    assert "records, which aren't shown here" in outputs[2]


@pytest.mark.parametrize(
    ("records", "tenant", "settings"),
    [
        (300, {}, {}),
        (3_000, {}, {"page_size": 500}),
        (3_000, {"page_cap": 200}, {}),
        (3_000, {"clock": offset(-5)}, {"page_size": 500}),
        (900, {}, {"by_id": True}),
        (300, {"get_many_forms": set()}, {"by_id": True}),
    ],
)
def test_what_a_first_run_costs_is_about_right(
    make_tenant: Callable[..., Bench],
    records: int,
    tenant: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    bench = make_tenant(records, by_id=bool(settings.pop("by_id", False)), **tenant)
    found = re.match(r"about (\d+) calls", told(run_test(bench, **settings))["First run"])
    bench.count_calls()

    bench.read(**settings)

    assert found
    assert abs(int(found[1]) - bench.count_calls()) <= 3 + records / 100


def test_the_test_of_the_schema_is_left_to_the_sdk(bench: Bench) -> None:
    finished = run_tap_with(bench.settings(), "--test=schema")

    assert finished.code == 0
    assert '"type":"SCHEMA"' in finished.stdout
    assert bench.count_calls() == 0
