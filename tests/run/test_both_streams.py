"""The ledger and the allowances in one run: what is read, by whose Ids, and what fails alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, run_tap_with
from outcomes import STREAM, Run, catalog_of

from tap_nexudus_usage.errors import (
    AccessError,
    ApiError,
    InvalidRecordError,
    LoginError,
    MissingRecordsError,
    StoppedError,
    StreamsFailedError,
    UnansweredError,
)
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER
from tap_nexudus_usage.run.entity_run import EntityRun
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import User

ROLES = {role for entity in ENTITIES for role in (entity.read_role, entity.list_role)}


BOTH = catalog_of(STREAM, ALLOWANCES.stream)
ALLOWANCES_ONLY = catalog_of(ALLOWANCES.stream)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(60, allowances=90)


def records(run: Run, stream: str) -> list[dict[str, Any]]:
    written = (message for message in run.messages if message["type"] == "RECORD")
    return [message["record"] for message in written if message["stream"] == stream]


def ids(run: Run, stream: str) -> list[int]:
    return [record["Id"] for record in records(run, stream)]


def named(bench: Bench) -> list[int]:
    """The Ids of allowances that the ledger names, in its order."""
    of_records = (bench.ledger.get(i) or {} for i in bench.ledger)
    return [*dict.fromkeys(record["CoworkerExtraServiceId"] for record in of_records)]


def present(bench: Bench) -> list[int]:
    return [i for i in named(bench) if bench.allowances.get(i) is not None]


def calls_for(bench: Bench, stream: str) -> int:
    return sum(
        call.entity is not None and call.entity.stream == stream for call in bench.world.calls
    )


def test_by_id_the_allowances_come_that_the_ledger_names(bench: Bench) -> None:
    run = bench.read(catalog=BOTH)

    assert ids(run, STREAM) == list(bench.ledger)
    assert ids(run, ALLOWANCES.stream) == present(bench)
    assert len(present(bench)) < len(bench.allowances)
    assert records(run, ALLOWANCES.stream) == [
        bench.expected(i, ALLOWANCES) for i in present(bench)
    ]


def test_by_search_all_allowances_come(bench: Bench) -> None:
    run = bench.read(catalog=BOTH, record_ids=None)

    assert sorted(ids(run, STREAM)) == sorted(bench.ledger)
    assert sorted(ids(run, ALLOWANCES.stream)) == sorted(bench.allowances)


@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
def test_a_rerun_emits_of_each_what_changed(bench: Bench, way: dict[str, Any]) -> None:
    first = bench.read(catalog=BOTH, **way)
    silent = bench.read(catalog=BOTH, state=first.state, **way)
    changed = present(bench)[3]
    bench.allowances.change(changed, RemainingUses=1)
    second = bench.read(catalog=BOTH, state=silent.state, **way)

    assert silent.records == []
    assert silent.state == first.state
    assert second.records == [bench.expected(changed, ALLOWANCES)]
    assert first.state["bookmarks"].keys() == {STREAM, ALLOWANCES.stream}


def test_a_use_brings_itself_and_its_allowance(bench: Bench) -> None:
    first = bench.read(catalog=BOTH)
    use = bench.ledger.insert(CoworkerExtraServiceId=present(bench)[0])
    second = bench.read(catalog=BOTH, state=first.state)

    assert ids(second, STREAM) == [use["Id"]]
    assert ids(second, ALLOWANCES.stream) == [use["CoworkerExtraServiceId"]]


def test_without_a_catalog_only_the_ledger_is_read(bench: Bench) -> None:
    run = bench.read()

    assert {message.get("stream", STREAM) for message in run.messages} == {STREAM}
    assert calls_for(bench, ALLOWANCES.stream) == 0
    assert run.state["bookmarks"].keys() == {STREAM}


def test_a_catalog_of_before_there_were_allowances_selects_none(bench: Bench) -> None:
    old = {"streams": [entry for entry in BOTH["streams"] if entry["stream"] == STREAM]}

    run = bench.read(catalog=old, record_ids=None)

    assert calls_for(bench, ALLOWANCES.stream) == 0
    assert sorted(run.ids) == sorted(bench.ledger)


def test_the_ledger_alone_is_read_as_ever(bench: Bench) -> None:
    # The other's bookmark, from a time when it was selected, is kept as it is.
    both = bench.read(catalog=BOTH).state
    bench.count_calls()
    use = bench.ledger.insert()

    run = bench.read(catalog=catalog_of(STREAM), state=both)

    assert bench.count_calls() == 2
    assert run.ids == [use["Id"]]
    assert run.state["bookmarks"][ALLOWANCES.stream] == both["bookmarks"][ALLOWANCES.stream]


def test_a_deselected_ledger_is_read_for_its_names_and_not_emitted(bench: Bench) -> None:
    gone = next(iter(bench.ledger))
    state = bench.read().state
    bench.ledger.delete(gone)

    run = bench.read(
        catalog=ALLOWANCES_ONLY,
        state=state,
        record_ids=[gone, *bench.ledger],
        on_missing_record="tombstone",
    )

    assert {message.get("stream") for message in run.messages} == {None, ALLOWANCES.stream}
    assert run.ids == present(bench)
    assert run.state["bookmarks"][STREAM] == state["bookmarks"][STREAM]


def test_a_deselected_ledger_is_not_searched(bench: Bench) -> None:
    run = bench.read(catalog=ALLOWANCES_ONLY, record_ids=None)

    assert sorted(run.ids) == sorted(bench.allowances)
    assert calls_for(bench, STREAM) == 0


@pytest.mark.parametrize("on_missing_record", ["warn", "fail", "tombstone"])
def test_an_allowance_that_is_gone_is_a_missing_record(
    bench: Bench, caplog: pytest.LogCaptureFixture, on_missing_record: str
) -> None:
    for record_id in named(bench):
        if bench.allowances.get(record_id) is None:
            bench.allowances.insert(record_id)
    first = bench.read(catalog=BOTH)
    gone = named(bench)[5]
    bench.allowances.delete(gone)

    run = bench.run(catalog=BOTH, state=first.state, on_missing_record=on_missing_record)

    if on_missing_record == "tombstone":
        (tombstone,) = run.records
        assert tombstone["_sdc_deleted_at"] is not None
        assert tombstone == {
            **dict.fromkeys(ALLOWANCES.schema()["properties"]),
            "Id": gone,
            "_sdc_deleted_at": tombstone["_sdc_deleted_at"],
        }
        silent = bench.read(catalog=BOTH, state=run.state, on_missing_record=on_missing_record)
        assert silent.records == []
    else:
        assert run.records == []
    if on_missing_record == "warn":
        assert f"CoworkerExtraService Ids {gone}" in caplog.text
    if on_missing_record == "fail":
        assert isinstance(run.error, StreamsFailedError)
        assert isinstance(run.error.errors[ALLOWANCES.stream], MissingRecordsError)
        words = "1 CoworkerExtraService Ids don't exist in Nexudus, or this user may not see them"
        assert f"{words}: {gone}" in str(run.error)
    else:
        assert run.error is None


@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
def test_a_role_that_is_missing_costs_only_the_stream_that_needs_it(
    make_bench: Callable[..., Bench], way: dict[str, Any]
) -> None:
    of_allowances = {ALLOWANCES.read_role, ALLOWANCES.list_role}
    bench = make_bench(60, allowances=90, user=User(roles=frozenset(ROLES - of_allowances)))

    run = bench.run(catalog=BOTH, **way)

    assert sorted(ids(run, STREAM)) == sorted(bench.ledger)
    assert isinstance(run.error, StreamsFailedError)
    assert isinstance(run.error.errors[ALLOWANCES.stream], AccessError)
    role = ALLOWANCES.list_role if way else ALLOWANCES.read_role
    for word in (ALLOWANCES.stream, role, "deselect", "meltano.yml"):
        assert word in str(run.error)
    assert STREAM not in str(run.error)
    assert bench.read(state=run.state, **way).records == []


def test_the_last_line_names_stream_and_role(make_bench: Callable[..., Bench]) -> None:
    of_allowances = {ALLOWANCES.read_role, ALLOWANCES.list_role}
    bench = make_bench(60, allowances=90, user=User(roles=frozenset(ROLES - of_allowances)))
    Path("catalog.json").write_text(json.dumps(BOTH), encoding="utf-8")

    finished = run_tap_with(bench.settings(), "--catalog", "catalog.json")

    assert finished.code == 1
    assert "Traceback" not in finished.stderr
    assert f"{ALLOWANCES.stream}: Nexudus refuses access" in finished.last_line
    assert ALLOWANCES.read_role in finished.last_line
    assert sorted(ids(finished.run, STREAM)) == sorted(bench.ledger)
    (line,) = [line for line in finished.stderr.splitlines() if "records emitted" in line]
    assert f"{STREAM}: 60 records emitted" in line
    assert f"{ALLOWANCES.stream}: 0 records emitted" in line


@pytest.mark.parametrize(
    ("by_token", "status", "is_certain"),
    [(False, 401, True), (False, 403, True), (True, 401, False), (True, 403, True)],
)
def test_a_login_that_worked_is_not_suspected_unless_its_token_may_have_ended(
    make_bench: Callable[..., Bench], *, by_token: bool, status: int, is_certain: bool
) -> None:
    of_allowances = {ALLOWANCES.read_role, ALLOWANCES.list_role}
    user = User(roles=frozenset(ROLES - of_allowances))
    bench = make_bench(60, allowances=90, user=user, missing_role_status=status)
    form = {"grant_type": "password", "username": user.username, "password": user.password}
    token = bench.world.tokens.grant(form, None)["access_token"]
    login = {"access_token": token, "username": None, "password": None} if by_token else {}

    run = bench.run(catalog=BOTH, **login)

    assert sorted(ids(run, STREAM)) == sorted(bench.ledger)
    said = str(run.error)
    assert ("The login works for other calls, so the user lacks the role" in said) == is_certain
    assert ("Either the token isn't valid, so check access_token" in said) == (not is_certain)


def test_the_ledgers_role_that_is_missing_keeps_no_search_of_allowances(
    make_bench: Callable[..., Bench],
) -> None:
    of_ledger = {LEDGER.read_role, LEDGER.list_role}
    bench = make_bench(60, allowances=90, user=User(roles=frozenset(ROLES - of_ledger)))

    run = bench.run(catalog=BOTH, record_ids=None)

    assert sorted(run.ids) == sorted(bench.allowances)
    assert isinstance(run.error, StreamsFailedError)
    assert run.error.errors.keys() == {STREAM}


def test_where_both_fail_both_are_named(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(60, allowances=90, user=User(roles=frozenset()))

    run = bench.run(catalog=BOTH, record_ids=None)

    assert isinstance(run.error, StreamsFailedError)
    assert run.error.errors.keys() == {STREAM, ALLOWANCES.stream}
    assert "deselect" not in str(run.error)


def test_a_stream_alone_fails_in_its_own_words(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(60, allowances=90, user=User(roles=frozenset()))

    run = bench.run(catalog=ALLOWANCES_ONLY, record_ids=None)

    assert isinstance(run.error, AccessError)


def test_a_wrong_password_is_not_tried_for_each_stream(bench: Bench) -> None:
    run = bench.run(catalog=BOTH, password="not the one")

    assert isinstance(run.error, LoginError)
    assert bench.count_calls() == 1


@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
def test_a_login_without_an_answer_concerns_all(bench: Bench, way: dict[str, Any]) -> None:
    bench.world.faults.append(Fault("reset", endpoints=("token",), times=None))

    run = bench.run(catalog=BOTH, max_retries=2, **way)

    assert str(run.error).startswith("Login failed: ")
    assert isinstance(run.error, ApiError)
    assert bench.count_calls() <= 2


@pytest.mark.parametrize(
    ("way", "is_dispensable"), [({}, False), ({"record_ids": None}, True)], ids=["id", "search"]
)
def test_to_do_without_the_ledger_is_advised_where_nothing_else_needs_it(
    make_bench: Callable[..., Bench], way: dict[str, Any], *, is_dispensable: bool
) -> None:
    of_ledger = {LEDGER.read_role, LEDGER.list_role}
    bench = make_bench(60, allowances=90, user=User(roles=frozenset(ROLES - of_ledger)))

    run = bench.run(catalog=BOTH, **way)

    assert isinstance(run.error, StreamsFailedError)
    assert run.error.errors.keys() == {STREAM}
    assert ("deselect" in str(run.error)) is is_dispensable


def test_what_the_ledger_fails_to_name_is_told_and_not_forgotten(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    first = bench.read(catalog=BOTH, batch_size=10)
    failing = list(bench.ledger)[:10]
    bench.world.faults.append(Fault(ids=failing, streams=(STREAM,), times=None))
    second = bench.run(catalog=BOTH, state=first.state, batch_size=10, max_retries=1)
    bench.world.faults.clear()
    third = bench.read(catalog=BOTH, state=second.state, batch_size=10)

    assert isinstance(second.error, StreamsFailedError)
    assert isinstance(second.error.errors[STREAM], UnansweredError)
    assert f"{ALLOWANCES.stream}: only the" in caplog.text
    assert second.state == first.state
    assert third.records == []


def test_what_is_no_longer_named_is_forgotten(bench: Bench) -> None:
    first = bench.read(catalog=BOTH)
    kept = next(iter(bench.ledger))

    second = bench.read(catalog=BOTH, state=first.state, record_ids=[kept])

    bookmarks = second.state["bookmarks"]
    assert bookmarks[STREAM]["emitted"].keys() == {str(kept)}
    assert len(bookmarks[ALLOWANCES.stream]["emitted"]) <= 1


@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
def test_a_full_table_of_allowances_deletes_after_the_last_record(
    bench: Bench, way: dict[str, Any]
) -> None:
    full = catalog_of(ALLOWANCES.stream, method="FULL_TABLE")

    run = bench.read(catalog=full, emit_activate_version_messages=True, **way)

    types = [message["type"] for message in run.messages if message["type"] != "STATE"]
    assert types[0] == "SCHEMA"
    assert types[-1] == "ACTIVATE_VERSION"
    assert types.count("RECORD") == len(present(bench) if not way else bench.allowances)


def test_a_full_table_deletes_nothing_where_the_ledger_could_not_tell_all(bench: Bench) -> None:
    failing = list(bench.ledger)[:1]
    bench.world.faults.append(Fault(ids=failing, streams=(STREAM,), times=None))

    run = bench.run(
        catalog=catalog_of(ALLOWANCES.stream, method="FULL_TABLE"),
        emit_activate_version_messages=True,
        max_retries=1,
        batch_size=10,
    )

    assert run.error is not None
    assert "ACTIVATE_VERSION" not in {message["type"] for message in run.messages}


def test_a_full_table_deletes_nothing_where_nothing_is_named(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for record_id in bench.ledger:
        bench.ledger.change(record_id, CoworkerExtraServiceId=0)

    run = bench.read(
        catalog=catalog_of(ALLOWANCES.stream, method="FULL_TABLE"),
        emit_activate_version_messages=True,
    )

    assert {message["type"] for message in run.messages} == {"SCHEMA", "STATE"}
    assert "couldn't find out which there are" in caplog.text


@pytest.mark.parametrize("name", ["x", True, 2**70])
def test_a_use_that_names_none_although_it_should_is_told_though_it_is_not_due(
    bench: Bench, name: Any
) -> None:
    record_id = next(iter(bench.ledger))
    first = bench.read(catalog=BOTH)
    stamp = (bench.ledger.get(record_id) or {})["UpdatedOn"]
    bench.ledger.change(record_id, UpdatedOn=stamp, CoworkerExtraServiceId=name)

    second = bench.run(catalog=BOTH, state=first.state)

    assert isinstance(second.error, StreamsFailedError)
    assert isinstance(second.error.errors[STREAM], InvalidRecordError)
    assert second.state == first.state


@pytest.mark.parametrize("name", [None, 0, "x", True, -1, 2**70])
def test_what_is_no_id_names_nothing(bench: Bench, name: Any) -> None:
    record_id, *others = bench.ledger
    bench.ledger.change(record_id, CoworkerExtraServiceId=name)
    expected = {(bench.ledger.get(i) or {})["CoworkerExtraServiceId"] for i in others}

    run = bench.read(catalog=BOTH, on_invalid_record="warn")

    assert {*ids(run, ALLOWANCES.stream)} == {i for i in expected if bench.allowances.get(i)}


def test_both_share_a_login_a_pace_and_a_summary(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    run = bench.read(catalog=BOTH, record_ids=None)

    assert run.error is None
    assert sum(call.endpoint == "token" for call in bench.world.calls) == 1
    (line,) = [message for message in caplog.messages if "records emitted" in message]
    assert line.startswith(f"{STREAM}: 60 records emitted, 60 records read, 60 counted; ")
    assert f"{ALLOWANCES.stream}: 90 records emitted, 90 records read, 90 counted; 5 calls" in line


def test_by_id_both_cost_a_call_for_each_batch(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(2_000, allowances=1_500)
    for record_id in named(bench):
        if bench.allowances.get(record_id) is None:
            bench.allowances.insert(record_id)
    of_each = [-(-len(asked) // 200) for asked in (list(bench.ledger), named(bench))]

    first = bench.read(catalog=BOTH)
    calls = bench.count_calls()
    second = bench.read(catalog=BOTH, state=first.state)

    assert calls == 1 + sum(of_each)
    assert second.records == []
    assert bench.count_calls() == calls


def test_by_search_both_cost_a_call_for_each_page(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(5_000, allowances=2_000)

    run = bench.read(catalog=BOTH, record_ids=None, page_size=100)

    assert len(run.ids) == 7_000
    # A login and 50 pages; 20 pages. Each overlaps the one before by a record.
    assert bench.count_calls() <= 52 + 22


def test_start_date_and_lookback_are_of_both(bench: Bench) -> None:
    stamps = sorted(bench.expected(i, ALLOWANCES)["UpdatedOn"] for i in bench.allowances)
    start = stamps[len(stamps) // 2]

    run = bench.read(catalog=BOTH, record_ids=None, start_date=start, lookback_hours=0)

    assert all(record["UpdatedOn"] >= start for record in run.records)
    assert len(records(run, ALLOWANCES.stream)) == sum(stamp >= start for stamp in stamps)


@pytest.mark.parametrize("ending", ["fails", "is stopped"])
def test_what_ends_before_the_allowances_begin_leaves_their_state(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    # Else a later search would begin at a bookmark that covers the Ids named by then only.
    first = bench.read(catalog=ALLOWANCES_ONLY)
    fault = Fault(status=401, streams=(STREAM,), times=None)
    with monkeypatch.context() as patch:
        if ending == "fails":
            bench.world.faults.append(fault)
        else:
            patch.setattr(EntityRun, "_make_sure_of_names", _stop)
        second = bench.run(catalog=ALLOWANCES_ONLY, state=first.state)
    bench.world.faults.clear()

    third = bench.read(catalog=ALLOWANCES_ONLY, state=second.state, record_ids=None)

    assert second.error is not None
    assert second.state == first.state
    assert {*first.ids, *third.ids} == set(bench.allowances)


def _stop(_: EntityRun) -> None:
    raise StoppedError


def test_a_use_that_fails_costs_no_other_allowance_where_the_ledger_is_deselected(
    bench: Bench,
) -> None:
    failing, *others = bench.ledger
    bench.world.faults.append(Fault(ids=[failing], streams=(STREAM,), times=None))
    names = [(bench.ledger.get(i) or {})["CoworkerExtraServiceId"] for i in others]

    run = bench.run(catalog=ALLOWANCES_ONLY, max_retries=1)

    assert isinstance(run.error, UnansweredError)
    assert str(failing) in str(run.error)
    assert {*run.ids} == {i for i in names if bench.allowances.get(i) is not None}


@pytest.mark.parametrize("streams", [(ALLOWANCES.stream,), (STREAM, ALLOWANCES.stream)])
def test_a_full_table_deletes_no_allowance_for_a_use_that_get_many_keeps_back(
    make_bench: Callable[..., Bench], kept_back: set[int], streams: tuple[str, ...]
) -> None:
    bench = make_bench(100, allowances=90)
    record_ids = list(bench.ledger)
    allowance = bench.allowances.insert()["Id"]
    bench.ledger.change(record_ids[-1], CoworkerExtraServiceId=allowance)
    # So many that get one is asked about some of them only, where nothing depends on it.
    for record_id in record_ids[:40]:
        bench.ledger.delete(record_id)
    kept_back.add(record_ids[-1])
    catalog = catalog_of(*streams)
    for entry in catalog["streams"]:
        if entry["stream"] == ALLOWANCES.stream:
            entry["replication_method"] = "FULL_TABLE"

    run = bench.read(
        catalog=catalog, record_ids=record_ids, emit_activate_version_messages=True, batch_size=50
    )

    assert run.messages[-1]["type"] == "ACTIVATE_VERSION"
    assert allowance in ids(run, ALLOWANCES.stream)
