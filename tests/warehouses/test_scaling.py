"""Several accounts, and several shards of one, loaded at once as docs/scaling.md says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from outcomes import STREAM

from tap_nexudus_usage.emission import packed
from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.sandbox.records import Ledger
from tap_nexudus_usage.sandbox.tokens import User
from warehouses import engines
from warehouses.meltano import TAP, Project
from warehouses.recipes import RECIPES
from warehouses.scaling import blocks, make_project
from warehouses.warehouse import Warehouse

pytestmark = pytest.mark.warehouse

ACCOUNTS = ("lisbon", "porto")
SHARED = 77_777_777
"""An Id that both accounts have, for records that have nothing else in common."""

ALL_ACCOUNTS, SPLIT, FIRST_SHARD, ALL_SHARDS = blocks("sh")
(ACCOUNTS_IN_ONE,) = blocks("sql")


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with engines.postgres(tmp_path) as warehouse:
        yield warehouse


@pytest.fixture
def meltano(tmp_path: Path, warehouse: Warehouse) -> Project:
    return make_project(tmp_path, warehouse)


@pytest.fixture
def accounts(make_bench: Callable[..., Bench], meltano: Project) -> dict[str, Bench]:
    """Two sandboxes with nothing in common but an Id."""
    benches = {}
    for seed, account in enumerate(ACCOUNTS, 1):
        ledger = Ledger(20 * seed, seed)
        ledger.insert(SHARED, ToStringText=account)
        user = User(f"{account}@example.com", f"the password of {account}")
        benches[account] = make_bench(ledger=ledger, user=user, throttled=True)
        configure(meltano, account, benches[account])
    return benches


@dataclass(frozen=True)
class Table:
    """What a schema's table holds."""

    warehouse: Warehouse

    def rows(self) -> dict[int, dict[str, Any]]:
        return {row["Id"]: row for row in self.warehouse.rows()}

    def assert_equals(self, bench: Bench) -> None:
        rows = self.rows()
        assert sorted(rows) == sorted(bench.ledger)
        for record_id in bench.ledger:
            expected = bench.expected(record_id)
            assert {name: rows[record_id][name] for name in expected} == expected

    def loaded_after(self, before: dict[int, dict[str, Any]]) -> set[int]:
        """The Ids that were written again, or anew, since the rows were as they were."""
        return {
            record_id
            for record_id, row in self.rows().items()
            if record_id not in before
            or row["_sdc_extracted_at"] != before[record_id]["_sdc_extracted_at"]
        }


def configure(meltano: Project, name: str, bench: Bench) -> None:
    """Give an account's or shard's extractor what it needs to reach its sandbox."""
    settings = bench.settings(record_ids=None, requests_per_minute=None)
    meltano.configure(f"{TAP}-{name}", settings)


def log(meltano: Project, name: str) -> str:
    """What a run of the document's said."""
    return (meltano.folder / f"{name}.log").read_text(encoding="utf-8")


def load(meltano: Project, script: str, names: Iterable[str]) -> None:
    """Run commands of the document's, which load what is named and have to go well."""
    assert meltano.shell(script).code == 0, [log(meltano, name) for name in names]


def table(warehouse: Warehouse, schema: str) -> Table:
    return Table(replace(warehouse, table=f"{schema}.{STREAM}"))


def emitted(meltano: Project, name: str) -> set[int]:
    """The Ids in a state, all of which belong to one account or shard."""
    got = meltano.meltano("state", "get", f"dev:{TAP}-{name}-to-target-postgres:{name}")
    bookmarks = json.loads(got.stdout)["singer_state"]["bookmarks"]
    return set(map(int, packed.unpack(bookmarks[STREAM]["emitted"])))


def share_throttled(benches: Iterable[Bench]) -> float:
    counts = [bench.world.count() for bench in benches]
    return sum(c["throttled"] for c in counts) / sum(c["all"] for c in counts)


def test_accounts_are_loaded_at_once_each_with_its_own_state(
    accounts: dict[str, Bench], meltano: Project, warehouse: Warehouse
) -> None:
    tables = {account: table(warehouse, f"nexudus_{account}") for account in ACCOUNTS}
    load(meltano, ALL_ACCOUNTS, ACCOUNTS)
    for account, bench in accounts.items():
        tables[account].assert_equals(bench)

    changed = {}
    before = {account: tables[account].rows() for account in ACCOUNTS}
    for count, (account, bench) in enumerate(accounts.items(), 2):
        changed[account] = {SHARED, *list(bench.ledger)[:count]}
        for record_id in changed[account]:
            bench.ledger.change(record_id, CreditUsed=count)
    load(meltano, ALL_ACCOUNTS, ACCOUNTS)

    for account, bench in accounts.items():
        tables[account].assert_equals(bench)
        assert tables[account].loaded_after(before[account]) == changed[account]
        assert emitted(meltano, account) == changed[account]
    # A busy machine delays some calls by more than the pace's margin.
    assert share_throttled(accounts.values()) < 0.1


def test_accounts_are_seen_in_one_place(
    accounts: dict[str, Bench], meltano: Project, warehouse: Warehouse
) -> None:
    load(meltano, ALL_ACCOUNTS, ACCOUNTS)
    for account in ACCOUNTS:
        select = RECIPES["postgres"].views[LEDGER].replace("nexudus.", f"nexudus_{account}.")
        warehouse.query(f"CREATE VIEW nexudus_{account}.credit_uses AS {select}")

    rows = warehouse.query(ACCOUNTS_IN_ONE)

    assert len(rows) == sum(len(bench.ledger) for bench in accounts.values())
    shared = {row["account"]: row["to_string_text"] for row in rows if row["id"] == SHARED}
    assert shared == {"lisbon": "lisbon", "porto": "porto"}


def test_an_account_that_fails_is_told_and_the_other_one_loaded(
    accounts: dict[str, Bench], meltano: Project, warehouse: Warehouse
) -> None:
    meltano.configure(f"{TAP}-lisbon", {"password": "mistyped"})

    assert meltano.shell(ALL_ACCOUNTS).code == 1
    assert "Login failed" in log(meltano, "lisbon")
    table(warehouse, "nexudus_porto").assert_equals(accounts["porto"])


def test_shards_of_one_account_are_loaded_at_once_each_with_its_own_state(
    make_bench: Callable[..., Bench], meltano: Project, warehouse: Warehouse
) -> None:
    bench = make_bench(30, throttled=True)
    ids = set(bench.ledger)
    shards = [{record_id for record_id in ids if record_id % 2 == shard} for shard in (0, 1)]
    (meltano.folder / "ids.txt").write_text("\n".join(map(str, ids)) + "\n", encoding="utf-8")
    names = ["shard-0", "shard-1"]
    for name in names:
        configure(meltano, name, bench)
    load(meltano, SPLIT, ())
    load(meltano, FIRST_SHARD, names[:1])
    load(meltano, ALL_SHARDS, names)
    loaded = table(warehouse, "nexudus")
    loaded.assert_equals(bench)

    before = loaded.rows()
    changed, deleted = (set(list(ids)[start : start + 4]) for start in (0, 4))
    for record_id in changed:
        bench.ledger.change(record_id, CreditUsed=7)
    for record_id in deleted:
        bench.ledger.delete(record_id)
    load(meltano, ALL_SHARDS, names)

    assert loaded.loaded_after(before) == changed | deleted
    rows = loaded.rows()
    gone = {record_id for record_id, row in rows.items() if row["_sdc_deleted_at"] is not None}
    assert gone == deleted
    for name, configured in zip(names, shards, strict=True):
        assert emitted(meltano, name) == configured - deleted
