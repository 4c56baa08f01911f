"""The ledger and its allowances fit each other, and are served alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import requests
from calling import get
from conftest import SEED, Bench

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER, Entity
from tap_nexudus_usage.sandbox.allowances import Allowances
from tap_nexudus_usage.sandbox.faults import Fault, Kind
from tap_nexudus_usage.sandbox.literals import Number
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.records import Ledger, Table
from tap_nexudus_usage.sandbox.tokens import User
from tap_nexudus_usage.sandbox.turmoil import Turmoil
from tap_nexudus_usage.timestamps import canonical

NUMBERS = frozenset(
    name for name, schema in ALLOWANCES.schema()["properties"].items() if "number" in schema["type"]
)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(100, allowances=60)


def rows(table: Table) -> list[dict[str, Any]]:
    return [table.get(record_id) or {} for record_id in table]


def a_credit(table: Table, **fields: Any) -> dict[str, Any]:
    """The first credit with these fields."""
    return next(
        row for row in rows(table) if row["BookingId"] is None and fields.items() <= row.items()
    )


def control(bench: Bench, entity: Entity, method: str, path: str = "", **fields: Any) -> Any:
    url = f"{bench.sandbox.url}/control/{entity.stream}/records{path}"
    answer = requests.request(method, url, json=fields, timeout=10)
    assert answer.ok
    return answer.json(parse_float=Decimal) if answer.content else None


def ids_in(page: requests.Response) -> list[int]:
    return [record["Id"] for record in page.json()["Records"]]


def test_a_record_has_the_documented_fields_in_their_types() -> None:
    schema = ALLOWANCES.schema()["properties"]
    types = {int: "integer", str: "string", dict: "string", bool: "boolean", Number: "number"}

    for row in rows(Allowances(300)):
        assert row.keys() == schema.keys() - {"_sdc_deleted_at"}
        for name, value in row.items():
            assert value is None or types[type(value)] in schema[name]["type"], name


def test_allowances_are_as_varied_as_the_real_ones() -> None:
    _, table = tenant_tables(2_000, 2_000, SEED)
    found = rows(table)
    charges = [row for row in found if row["BookingId"] is not None]
    printing = [row for row in found if row["ExtraServiceIsPrintingCredit"]]

    assert 0.65 < len(charges) / len(found) < 0.75
    assert printing
    assert not any(row in charges for row in printing)
    assert {row["ChargePeriod"] for row in found} == {1, 2, 3, 4, 5, 6}
    assert all(len({row[name] for row in found}) > 1 for name in ("CoworkerId", "BusinessId"))
    assert any(row["ExtraServiceName"] and not row["ExtraServiceName"].isascii() for row in found)
    fractions = {len(row["UpdatedOn"].partition(".")[2].rstrip("Z")) for row in found}
    assert fractions == set(range(8))
    never_null = {name for name in found[0] if all(row[name] is not None for row in found)}
    assert not never_null & {"ExtraServiceName", "Notes", "RemainingUses", "ExpireDate"}


def test_the_same_seed_gives_the_same_pair() -> None:
    first, second = tenant_tables(50, 30, 1), tenant_tables(50, 30, 1)

    for one, other in zip(first, second, strict=True):
        assert rows(one) == rows(other)
    assert rows(tenant_tables(50, 30, 2)[1]) != rows(first[1])


def test_a_pairs_ledger_differs_from_one_alone_in_what_is_used_only() -> None:
    alone, (paired, _) = rows(Ledger(200, 1)), tenant_tables(200, 100, 1)

    for one, other in zip(alone, rows(paired), strict=True):
        used = dict.fromkeys(("CoworkerExtraServiceId", "CreditUsed"))
        assert {**one, **used} == {**other, **used}


def test_what_is_left_is_what_was_granted_less_what_was_used() -> None:
    ledger, table = tenant_tables(1_000, 300, SEED)
    used: Counter[int] = Counter()
    for row in rows(ledger):
        used[row["CoworkerExtraServiceId"]] += row["CreditUsed"] or 0
    gone = [allowance_id for allowance_id in used if table.get(allowance_id) is None]
    granted = [row for row in rows(table) if row["BookingId"] is None]

    assert 0 < len(gone) < len(ledger) / 4
    assert len(used) - len(gone) > 50
    for row in granted:
        assert row["RemainingUses"] == row["TotalUses"] - used[row["Id"]] >= 0
    assert used.keys() <= {row["Id"] for row in granted}.union(gone)


def test_a_use_falls_within_its_allowances_life_and_touches_it() -> None:
    ledger, table = tenant_tables(1_000, 300, SEED)
    named = [(use, table.get(use["CoworkerExtraServiceId"])) for use in rows(ledger)]

    for use, allowance in named:
        if allowance is None:
            continue
        moment = canonical(use["CreatedOn"])
        assert canonical(allowance["CreatedOn"]) <= moment <= canonical(allowance["UpdatedOn"])
        assert allowance["ExpireDate"] is None or moment <= canonical(allowance["ExpireDate"])


def test_credit_is_used_in_the_allowances_unit() -> None:
    ledger, table = tenant_tables(1_000, 300, SEED)
    units = set()

    for use in rows(ledger):
        allowance, used = table.get(use["CoworkerExtraServiceId"]), use["CreditUsed"]
        if allowance is None or used is None:
            continue
        prints, unit = allowance["ExtraServiceIsPrintingCredit"], allowance["ChargePeriod"]
        units.add((prints, unit))
        if prints:
            assert use["BookingId"] is None
            assert 1 <= used <= 40
        else:
            assert used % 30 == 0 if unit == 1 else 1 <= used <= 3
    assert units == {(True, 5), *((False, unit) for unit in range(1, 7))}


def test_a_tenant_without_allowances_names_those_that_are_gone() -> None:
    ledger, table = tenant_tables(20, 0, SEED)

    assert len(table) == 0
    assert rows(ledger) == rows(Ledger(20, SEED))


def test_a_use_that_is_inserted_lowers_what_is_left(bench: Bench) -> None:
    before = a_credit(bench.allowances, ChargePeriod=1)

    bench.ledger.insert(CoworkerExtraServiceId=before["Id"], CreditUsed=90)

    after = bench.allowances.get(before["Id"]) or {}
    assert after["RemainingUses"] == before["RemainingUses"] - 90
    assert canonical(after["UpdatedOn"]) > canonical(before["UpdatedOn"])
    assert after["TotalUses"] == before["TotalUses"]


def test_a_use_inserted_without_an_amount_has_one_in_the_allowances_unit(bench: Bench) -> None:
    minutes = a_credit(bench.allowances, ChargePeriod=1)
    pages = a_credit(bench.allowances, ExtraServiceIsPrintingCredit=True)

    assert bench.ledger.insert(CoworkerExtraServiceId=minutes["Id"])["CreditUsed"] == 60
    printed = bench.ledger.insert(CoworkerExtraServiceId=pages["Id"])["CreditUsed"]
    left = (bench.allowances.get(pages["Id"]) or {})["RemainingUses"]
    assert left == pages["RemainingUses"] - printed < pages["RemainingUses"]


@pytest.mark.parametrize("named", ["charge", "gone"])
def test_a_use_of_what_has_no_credit_is_inserted_all_the_same(bench: Bench, named: str) -> None:
    charge = next(row for row in rows(bench.allowances) if row["BookingId"] is not None)
    before = rows(bench.allowances)

    bench.ledger.insert(CoworkerExtraServiceId=charge["Id"] if named == "charge" else 7)

    after = bench.allowances.get(charge["Id"]) or {}
    assert after["RemainingUses"] is None
    assert (rows(bench.allowances) == before) is (named == "gone")


def test_decimals_are_sent_in_the_spelling_they_have(bench: Bench) -> None:
    spellings = ["12.10", "0.1", "1e3", "0.12345678901234567", "12", "-0.50", "1E-7"]
    record_id = next(iter(bench.allowances))
    paths = (
        f"/{record_id}",
        f"/?id=[{record_id}]",
        f"?{ALLOWANCES.filter('Id')}=[{record_id}]",
        "?size=1",
    )

    for spelling in spellings:
        bench.allowances.change(record_id, Price=Number(spelling))
        for path in paths:
            assert f'"Price":{spelling},' in get(bench, ALLOWANCES.path + path).text


@pytest.mark.parametrize(
    ("kind", "path", "count"),
    [("duplicate", "?size=9", 10), ("duplicate", "/?id=[{}]", 10), ("omit", "?size=9", 4)],
)
def test_decimals_keep_their_spelling_whatever_befalls_an_answer(
    make_bench: Callable[..., Bench], kind: Kind, path: str, count: int
) -> None:
    blank = {"blank_in_lists": frozenset({"Notes"}), "lists": "pages and arrays"}
    bench = make_bench(0, allowances=5, **blank)
    for record_id in bench.allowances:
        bench.allowances.change(record_id, Price=Number("12.10"), Notes="any")
    bench.world.faults.append(Fault(kind, streams=(ALLOWANCES.stream,)))

    ids = ",".join(map(str, bench.allowances))
    text = get(bench, ALLOWANCES.path + path.format(ids)).text

    assert text.count('"Price":12.10,') == count
    assert '"any"' not in text


def test_decimals_given_by_control_keep_their_spelling(bench: Bench) -> None:
    record_id = next(iter(bench.allowances))
    url = f"{bench.sandbox.url}/control/{ALLOWANCES.stream}/records/{record_id}"

    requests.patch(url, data=b'{"Price": 7.50, "DiscountAmount": 1e2}', timeout=10)

    text = get(bench, f"{ALLOWANCES.path}/{record_id}").text
    assert '"Price":7.50,' in text
    assert '"DiscountAmount":1e2,' in text


def test_generated_decimals_come_in_many_spellings() -> None:
    table = Allowances(500, SEED)
    spelled = {str(row[name]) for row in rows(table) for name in NUMBERS}

    assert {"12.10", "0.1", "1e3", "12", "0.12345678901234567", "None"} <= spelled


def test_an_allowance_is_read_as_a_ledger_record_is(bench: Bench) -> None:
    ids = list(bench.allowances)[:3]
    one = get(bench, f"{ALLOWANCES.path}/{ids[0]}").json(parse_float=Decimal)
    many = get(bench, f"{ALLOWANCES.path}/?id=[{ids[0]},5,{ids[2]}]").json()
    filtered = get(bench, f"{ALLOWANCES.path}?{ALLOWANCES.filter('Id')}=[{ids[0]},{ids[2]}]")
    page = get(bench, f"{ALLOWANCES.path}?size=1000&orderBy=UpdatedOn&dir=0").json()

    assert one == bench.allowances.get(ids[0])
    assert {record["Id"] for record in many} == {ids[0], ids[2]}
    assert ids_in(filtered) == [ids[0], ids[2]]
    assert get(bench, f"{ALLOWANCES.path}/{next(iter(bench.ledger))}").status_code == 404
    stamps = [canonical(record["UpdatedOn"]) for record in page["Records"]]
    assert len(stamps) == len(bench.allowances)
    assert stamps == sorted(stamps)


def test_allowances_are_found_by_their_own_bounds_only(bench: Bench) -> None:
    stamps = sorted(canonical(row["UpdatedOn"]) for row in rows(bench.allowances))
    bound = stamps[30][:16]
    later = sum(stamp >= bound for stamp in stamps)

    def count(query: str) -> int:
        total: int = get(bench, f"{ALLOWANCES.path}?{query}").json()["TotalItems"]
        return total

    assert count(f"from_{ALLOWANCES.filter('UpdatedOn')}={bound}") == later < 60
    assert count(f"from_{LEDGER.filter('UpdatedOn')}={bound}") == 60
    # Documented for the ledger, not for them.
    assert count(f"{ALLOWANCES.filter('CreditUsed')}=1") == 60


def test_a_world_without_allowances_answers_none(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(3)

    assert get(bench, ALLOWANCES.path).json()["TotalItems"] == 0
    assert get(bench, f"{ALLOWANCES.path}/?id=[7]").json() == []
    assert get(bench, f"{ALLOWANCES.path}/7").status_code == 404


@pytest.mark.parametrize(("may", "may_not"), [(LEDGER, ALLOWANCES), (ALLOWANCES, LEDGER)])
@pytest.mark.parametrize("get_many_role", ["Read", "List"])
def test_each_entity_has_roles_of_its_own(
    make_bench: Callable[..., Bench], may: Entity, may_not: Entity, get_many_role: str
) -> None:
    user = User(roles=frozenset({may.read_role, may.list_role}))
    bench = make_bench(5, allowances=5, user=user, get_many_role=get_many_role)

    for entity, found, gone in ((may, 200, 404), (may_not, 401, 401)):
        assert get(bench, f"{entity.path}/7").status_code == gone
        assert get(bench, f"{entity.path}/?id=[7]").status_code == found
        assert get(bench, entity.path).status_code == found


def test_the_user_has_all_roles_unless_told_otherwise() -> None:
    assert User().roles >= {
        *(LEDGER.read_role, LEDGER.list_role),
        *(ALLOWANCES.read_role, ALLOWANCES.list_role),
    }


def test_a_fault_can_befall_one_stream_only(bench: Bench) -> None:
    bench.world.faults.append(Fault(status=418, streams=(ALLOWANCES.stream,), times=None))

    assert get(bench, ALLOWANCES.path).status_code == 418
    assert get(bench, f"{ALLOWANCES.path}/7").status_code == 418
    assert get(bench, LEDGER.path).status_code == 200


def test_a_call_is_noted_with_its_entity(bench: Bench) -> None:
    for entity in (LEDGER, ALLOWANCES):
        get(bench, f"{entity.path}/7")
    each = requests.get(f"{bench.sandbox.url}/control/calls/each", timeout=10).json()

    expected = [("token", None), ("one", LEDGER), ("token", None), ("one", ALLOWANCES)]
    assert [(call.endpoint, call.entity) for call in bench.world.calls] == expected
    assert [(call["endpoint"], call["stream"]) for call in each] == [
        (endpoint, entity and entity.stream) for endpoint, entity in expected
    ]


@pytest.mark.parametrize("entity", [LEDGER, ALLOWANCES], ids=lambda entity: entity.stream)
def test_each_stream_is_steered_alike(bench: Bench, entity: Entity) -> None:
    table = bench.world.table(entity)
    first = next(iter(table))

    assert control(bench, entity, "GET") == rows(table)
    changed = control(bench, entity, "PATCH", f"/{first}", UpdatedBy="someone@example.com")
    assert table.get(first) == changed
    assert changed["UpdatedBy"] == "someone@example.com"
    control(bench, entity, "DELETE", f"/{first}")
    assert table.get(first) is None
    inserted = control(bench, entity, "POST", UpdatedBy="someone@example.com")
    assert table.get(inserted["Id"]) == inserted


def test_there_is_no_control_of_a_stream_that_is_not_served(bench: Bench) -> None:
    url = f"{bench.sandbox.url}/control/lighthouse_visits/records"

    assert requests.get(url, timeout=10).status_code == 404


def test_a_use_inserted_by_control_lowers_what_is_left(bench: Bench) -> None:
    before = a_credit(bench.allowances)
    fields = {"CoworkerExtraServiceId": before["Id"], "CreditUsed": 2}

    control(bench, LEDGER, "POST", **fields)

    left = get(bench, f"{ALLOWANCES.path}/{before['Id']}").json()["RemainingUses"]
    assert left == before["RemainingUses"] - 2


def test_turmoil_changes_what_is_left_of_allowances(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(0, allowances=30, turmoil=Turmoil(probability=0.9, seed=1))
    before = {row["Id"]: row for row in rows(bench.allowances)}

    for _ in range(10):
        get(bench, ALLOWANCES.path)

    after = {row["Id"]: row for row in rows(bench.allowances)}
    changed = [i for i in before.keys() & after.keys() if after[i] != before[i]]
    assert before.keys() - after.keys()
    assert after.keys() - before.keys()
    assert all(after[i]["RemainingUses"] != before[i]["RemainingUses"] for i in changed)
    assert not any("CreditUsed" in row for row in after.values())


def test_an_allowance_is_expected_in_the_form_that_leaves_the_tap(bench: Bench) -> None:
    record_id = bench.allowances.insert(
        Price=Number("12.10"),
        ValidFrom="2025-01-15T10:30:00.5Z",
        ExpireDate=None,
        CustomFields={"Data": []},
    )["Id"]

    expected = bench.expected(record_id, ALLOWANCES)

    assert str(expected["Price"]) == "12.10"
    assert expected["ValidFrom"] == "2025-01-15T10:30:00.500000Z"
    assert expected["ExpireDate"] is None
    assert json.loads(expected["CustomFields"]) == {"Data": []}
    assert expected.keys() == ALLOWANCES.schema()["properties"].keys()
