"""Of what was read, what is due: each version once, tombstones of what is gone, or a word of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Bench
from outcomes import merged

from tap_nexudus_usage.emission.packed import unpack
from tap_nexudus_usage.errors import MissingRecordsError, UnansweredError
from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.sandbox.faults import Fault


def test_a_second_run_emits_only_what_changed(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(2_000)
    first = bench.read()

    second = bench.read(state=first.state)
    assert second.records == []
    assert second.state == first.state

    changed = list(bench.ledger)[::200]
    for record_id in changed:
        bench.ledger.change(record_id, CreditUsed=7)
    third = bench.read(state=second.state)
    assert third.records == [bench.expected(record_id) for record_id in changed]


def test_a_new_id_older_than_the_bookmark_is_emitted(bench: Bench) -> None:
    by_age = sorted(bench.ledger, key=lambda i: bench.expected(i)["UpdatedOn"])
    first = bench.read(record_ids=by_age[1:])

    second = bench.read(record_ids=by_age, state=first.state)

    assert second.ids == by_age[:1]
    assert second.bookmark["replication_key_value"] == first.bookmark["replication_key_value"]


def test_an_update_stamped_earlier_than_the_bookmark_is_emitted(bench: Bench) -> None:
    first = bench.read()
    record_id = next(iter(bench.ledger))
    bench.ledger.change(record_id, UpdatedOn="2001-01-01T00:00:00Z")

    second = bench.read(state=first.state)

    assert second.ids == [record_id]


def test_stamps_that_differ_by_a_fraction_are_told_apart(bench: Bench) -> None:
    record_id = next(iter(bench.ledger))
    bench.ledger.change(record_id, UpdatedOn="2025-01-15T10:30:00Z")
    first = bench.read()
    bench.ledger.change(record_id, UpdatedOn="2025-01-15T10:30:00.5Z")

    second = bench.read(state=first.state)

    assert [record["UpdatedOn"] for record in second.records] == ["2025-01-15T10:30:00.500000Z"]


def test_a_record_without_stamp_is_emitted_once(bench: Bench) -> None:
    record_id = next(iter(bench.ledger))
    bench.ledger.change(record_id, UpdatedOn=None)

    first = bench.read(record_ids=[record_id])
    second = bench.read(record_ids=[record_id], state=first.state)

    assert (first.ids, second.ids) == ([record_id], [])


def test_records_earlier_than_the_start_date_are_ignored(bench: Bench) -> None:
    old, exact, new = list(bench.ledger)[:3]
    bench.ledger.change(old, UpdatedOn="2025-01-14T23:59:59.9999999Z")
    bench.ledger.change(exact, UpdatedOn="2025-01-15T00:00:00Z")
    bench.ledger.change(new, UpdatedOn="2025-01-15T00:00:00.0000010Z")

    run = bench.read(record_ids=[old, exact, new], start_date="2025-01-15")

    assert run.ids == [exact, new]


def test_ids_no_longer_configured_leave_the_state(bench: Bench) -> None:
    first = bench.read()
    kept = list(bench.ledger)[:5]

    second = bench.read(record_ids=kept, state=first.state)

    assert list(second.bookmark["emitted"]) == [str(record_id) for record_id in kept]


def test_missing_ids_are_named_in_a_warning(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.ledger.delete(gone := next(iter(bench.ledger)))

    run = bench.read(record_ids=[gone, *bench.ledger])

    assert run.ids == list(bench.ledger)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"Not in Nexudus, or not visible to this user: {LEDGER.name} Ids {gone}"]


@pytest.mark.parametrize("on_missing_record", ["warn", "fail"])
def test_missing_ids_are_named_though_others_fail(
    bench: Bench, caplog: pytest.LogCaptureFixture, on_missing_record: str
) -> None:
    ids = list(bench.ledger)
    gone, broken = ids[:2]
    bench.ledger.delete(gone)
    bench.world.faults.append(Fault(status=500, ids=[broken], times=None))

    run = bench.run(record_ids=ids, on_missing_record=on_missing_record, max_retries=1)

    assert isinstance(run.error, UnansweredError)
    assert f"not visible to this user: {LEDGER.name} Ids {gone}" in caplog.text


def test_missing_ids_fail_after_everything_else_is_emitted(bench: Bench) -> None:
    ids = list(bench.ledger)
    bench.ledger.delete(ids[0])

    run = bench.run(record_ids=ids, on_missing_record="fail")

    assert run.ids == ids[1:]
    assert isinstance(run.error, MissingRecordsError)
    assert str(ids[0]) in str(run.error)
    assert list(run.bookmark["emitted"]) == [str(record_id) for record_id in ids[1:]]


def test_a_deleted_record_becomes_one_tombstone(bench: Bench) -> None:
    ids = list(bench.ledger)
    first = bench.read(record_ids=ids, on_missing_record="tombstone")
    gone = ids[3:5]
    for record_id in gone:
        bench.ledger.delete(record_id)

    second = bench.read(record_ids=ids, on_missing_record="tombstone", state=first.state)
    third = bench.read(record_ids=ids, on_missing_record="tombstone", state=second.state)

    assert second.ids == gone
    for tombstone in second.records:
        assert tombstone["_sdc_deleted_at"] is not None
        assert {v for k, v in tombstone.items() if k not in {"Id", "_sdc_deleted_at"}} == {None}
    assert not unpack(second.bookmark["emitted"]).keys() & set(map(str, gone))
    assert not third.bookmark["emitted"].keys() & set(map(str, gone))
    assert third.records == []


def test_a_tombstone_stays_told_though_the_run_fails_and_its_state_is_merged(bench: Bench) -> None:
    gone, broken, *_ = bench.ledger
    way: dict[str, Any] = {
        "record_ids": list(bench.ledger),
        "on_missing_record": "tombstone",
        "max_retries": 1,
    }
    first = bench.read(**way)
    record = json.loads(bench.ledger.json(gone) or b"")
    bench.ledger.delete(gone)
    bench.world.faults.append(Fault(status=500, ids=[broken], times=None))

    failed = bench.run(**way, state=first.state)
    state = merged(first.state, failed.state)
    again = bench.run(**way, state=state)
    bench.world.faults.clear()
    bench.ledger.insert(gone, **record)
    back = bench.read(**way, state=merged(state, again.state))

    assert isinstance(failed.error, UnansweredError)
    assert [failed.ids, again.ids, back.ids] == [[gone], [], [gone]]
    assert back.records[0]["UpdatedOn"] == first.records[0]["UpdatedOn"]


def test_an_id_never_emitted_becomes_no_tombstone(bench: Bench) -> None:
    bench.ledger.delete(gone := next(iter(bench.ledger)))

    run = bench.read(record_ids=[gone, *bench.ledger], on_missing_record="tombstone")

    assert gone not in run.ids
