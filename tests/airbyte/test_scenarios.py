"""The same ledger through both protocols: the same records, field by field, load after load."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Bench
from outcomes import Run, catalog_of
from warehouses.test_warehouses import NOTHING_BUT_NULLS, difficult_tables

from airbyte.conversation import DELETED, OWN, Said, Source
from tap_nexudus_usage.nexudus.entities import ENTITIES, LEDGER
from tap_nexudus_usage.sandbox.faults import Fault

BOTH = tuple(entity.stream for entity in ENTITIES)

Rows = dict[str, list[dict[str, Any]]]


class Loads:
    """Loads of a ledger by both protocols, each continuing from its own state."""

    def __init__(self, bench: Bench, way: dict[str, Any]) -> None:
        self.bench = bench
        self._source = Source(bench)
        self._way = way
        self._state: dict[str, Any] = {}
        self._said: Said | None = None

    def load(self, *, mode: str = "incremental", **settings: Any) -> Iterator[Rows]:
        """What came by each protocol."""
        settings = {"on_missing_record": "tombstone", **self._way, **settings}
        faults = json.dumps([vars(fault) for fault in self.bench.world.faults])
        method = "INCREMENTAL" if mode == "incremental" else "FULL_TABLE"
        run = self.bench.run(
            catalog=catalog_of(*BOTH, method=method), state=self._state, **settings
        )
        self._state = run.state
        yield by_singer(run)
        self.bench.world.faults[:] = [Fault(**fault) for fault in json.loads(faults)]
        state = None if self._said is None else self._said.state
        self._said = self._source.read(*BOTH, state=state, mode=mode, **settings)
        yield by_airbyte(self._said)
        self.bench.world.faults.clear()


def by_singer(run: Run) -> Rows:
    """Records by stream; when a row was deleted is another moment each time."""
    rows: Rows = {stream: [] for stream in BOTH}
    for message in run.messages:
        if message["type"] == "RECORD":
            record = dict(message["record"])
            rows[message["stream"]].append({**record, "gone": bool(record.pop("_sdc_deleted_at"))})
    return {
        stream: [{k: v for k, v in row.items() if k != "_sdc_deleted_at"} for row in found]
        for stream, found in rows.items()
    }


def by_airbyte(said: Said) -> Rows:
    return {
        stream: [
            {**{k: v for k, v in row.items() if k not in OWN}, "gone": row[DELETED] is not None}
            for row in said.rows(stream)
        ]
        for stream in BOTH
    }


def id_of(row: dict[str, Any]) -> int:
    return int(row["Id"])


@pytest.mark.parametrize("way", ["id", "search"])
def test_in_every_scenario_both_protocols_bring_the_same(
    make_bench: Callable[..., Bench], way: str
) -> None:
    ledger, allowances = difficult_tables()
    for table in (ledger, allowances):
        if way == "search":
            # Without `UpdatedOn` it isn't found.
            table.change(NOTHING_BUT_NULLS)
    bench = make_bench(ledger=ledger, allowances=allowances)
    ids = list(bench.ledger)
    loads = Loads(bench, {"record_ids": ids} if way == "id" else {"record_ids": None})

    first, by_source = loads.load()
    assert by_source == first
    assert {row["Id"] for row in first[LEDGER.stream]} == {*bench.ledger}

    # Changes, a correction stamped earlier, deletions, and uses that lower what is left.
    for record_id in ids[5:12]:
        bench.ledger.change(record_id, CreditUsed=999, BookingResourceName=None)
    bench.ledger.change(ids[11], CreditUsed=1_000, UpdatedOn="2023-12-31T23:59:59.5Z")
    bench.ledger.delete(ids[20])
    bench.allowances.delete(next(iter(bench.allowances)))
    ids.append(bench.ledger.insert(2**40)["Id"])
    second, by_source = loads.load()
    assert by_source == second
    assert second[LEDGER.stream]

    # A run that dies on the way, and the one that goes on.
    for record_id in list(bench.ledger)[::2]:
        bench.ledger.change(record_id, CreditUsed=3)
    endpoints = ("many", "one", "me") if way == "id" else ("search",)
    bench.world.faults.append(Fault(status=500, endpoints=endpoints, skip=2, times=None))
    small = {"batch_size": 10, "page_size": 10, "max_retries": 1, "max_concurrent_requests": 1}
    interrupted, interrupted_source = loads.load(**small)
    resumed, resumed_source = loads.load(**small)
    for stream in BOTH:
        # How far a run gets that fails is a matter of threads.
        whole = [*interrupted[stream], *resumed[stream]]
        by_source = [*interrupted_source[stream], *resumed_source[stream]]
        assert sorted(by_source, key=id_of) == sorted(whole, key=id_of)

    assert interrupted[LEDGER.stream] + resumed[LEDGER.stream]

    nothing, by_source = loads.load()
    assert by_source == nothing == {stream: [] for stream in BOTH}

    full, by_source = loads.load(mode="full_refresh")
    assert by_source == full
    assert len(full[LEDGER.stream]) == len(bench.ledger)
