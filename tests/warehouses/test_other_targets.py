"""Targets that people use beside the five do what docs/warehouses.md says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import SEED, Bench

from tap_nexudus_usage.sandbox.records import Ledger
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World
from warehouses.other_targets import OTHERS, Behaviour, Target, moment
from warehouses.pipeline import Pipeline
from warehouses.test_warehouses import DIFFICULT, NUMBERS, TEXTS
from warehouses.warehouse import Row

pytestmark = pytest.mark.warehouse

MARK = "_sdc_deleted_at"
CHANGED, GONE, GONE_BEFORE_FULL_TABLE = 3, 5, 6
"""Positions in the ledger."""


@dataclass
class Loads:
    """What was there after each of three loads, and what should have been."""

    behaviour: Behaviour
    target: Target
    ids: list[int]
    first: tuple[list[Row], dict[int, Row]]
    second: tuple[list[Row], dict[int, Row]]
    full_table: tuple[list[Row], dict[int, Row]]


@pytest.fixture(scope="module", params=OTHERS)
def loads(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loads]:
    """The ledger; then a change and a deletion; then a full table after another deletion."""
    behaviour = OTHERS[request.param]
    folder = tmp_path_factory.mktemp("target")
    ledger = Ledger(20, SEED)
    for record_id in (TEXTS, NUMBERS):
        ledger.insert(record_id, **DIFFICULT[record_id])
    # Two of the targets know no year after 9999 in UTC, nor any before 1.
    ledger.change(NUMBERS, BookingFromTime=None, BookingToTime=None)
    ids = list(ledger)
    world = World(ledger)
    with Sandbox(world) as sandbox, behaviour.opened(folder, **behaviour.settings) as target:
        bench = Bench(sandbox)
        pipeline = Pipeline(bench, target.warehouse, folder)
        by_id: dict[str, Any] = {"record_ids": ids, "on_missing_record": "tombstone"}
        full: dict[str, Any] = {"record_ids": None, "emit_activate_version_messages": True}

        def expected() -> dict[int, Row]:
            return {record_id: bench.expected(record_id) for record_id in ledger}

        pipeline.run(**by_id)
        first = target.rows(), expected()

        ledger.change(ids[CHANGED], CreditUsed=999, BookingResourceName=None)
        ledger.delete(ids[GONE])
        pipeline.run(**by_id)
        second = target.rows(), expected()

        ledger.delete(ids[GONE_BEFORE_FULL_TABLE])
        pipeline.run(method="FULL_TABLE", **full)
        yield Loads(behaviour, target, ids, first, second, (target.rows(), expected()))


def row_of(rows: list[Row], record_id: int) -> Row:
    (row,) = (row for row in rows if str(row["id"]) == str(record_id))
    return row


def assert_row(loads: Loads, rows: list[Row], record: Row) -> None:
    expected = loads.target.landed(record)
    if not loads.behaviour.marks_tombstones:
        del expected[MARK]
    row = row_of(rows, record["Id"])
    assert {name: row[name] for name in expected} == expected


def test_a_first_load_equals_the_ledger(loads: Loads) -> None:
    rows, expected = loads.first

    assert len(rows) == len(expected) == 22
    for record in expected.values():
        assert_row(loads, rows, record)


def test_a_change_updates_the_row_or_is_the_file(loads: Loads) -> None:
    rows, expected = loads.second

    assert_row(loads, rows, expected[loads.ids[CHANGED]])
    tombstones = 0 if loads.behaviour.deletes_tombstones else 1
    if loads.behaviour.keeps_earlier_runs:
        assert len(rows) == len(expected) + tombstones
        for record in expected.values():
            assert_row(loads, rows, record)
    else:
        assert len(rows) == 2


def test_a_tombstone_does_what_is_said(loads: Loads) -> None:
    rows, _ = loads.second

    gone = [row for row in rows if str(row["id"]) == str(loads.ids[GONE])]
    if loads.behaviour.deletes_tombstones:
        assert gone == []
        return
    (row,) = gone
    assert row["creditused"] in {None, ""}
    if loads.behaviour.marks_tombstones:
        assert moment(row[MARK]).startswith("20")
        assert row_of(rows, loads.ids[CHANGED])[MARK] in {None, ""}
    else:
        assert MARK not in row
        assert {value for name, value in row.items() if name != "id"} == {""}


def test_activate_version_deletes_nothing(loads: Loads) -> None:
    rows, expected = loads.full_table

    there = {str(row["id"]) for row in rows}
    assert {str(record_id) for record_id in expected} <= there
    gone = str(loads.ids[GONE_BEFORE_FULL_TABLE])
    assert (gone in there) == loads.behaviour.keeps_earlier_runs
    if loads.behaviour.keeps_earlier_runs:
        assert row_of(rows, int(gone))[MARK] is None
