"""Stream maps: a mistake in one is told, and STATE covers what was written, whatever they drop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, run_tap_with
from msgspec import Raw
from outcomes import STREAM, Finished

from tap_nexudus_usage.errors import SettingsError

EMAIL = "@example.com"
HASHED = "md5(UpdatedBy) if UpdatedBy else None"


def run(bench: Bench, stream_maps: dict[str, Any], **settings: Any) -> Finished:
    return run_tap_with(bench.settings(stream_maps=stream_maps, **settings))


def assert_told(finished: Finished, *parts: str) -> None:
    assert finished.code == 1
    assert EMAIL not in finished.stderr
    assert "CRITICAL" in finished.last_line
    assert "bug" not in finished.last_line
    for part in parts:
        assert part in finished.last_line


def assert_refused(finished: Finished, *parts: str) -> None:
    """Told before anything was written."""
    assert_told(finished, *parts)
    assert finished.stdout == ""


# For which stream, and which field


@pytest.mark.parametrize("otherwise", [{}, {"__else__": None}, {"__else__": "__NULL__"}])
@pytest.mark.parametrize(
    "stream_map",
    [
        {f"{STREAM[:-1]}": {"UpdatedBy": HASHED}},
        {"usage": {"__source__": "histories", "UpdatedBy": HASHED}},
        {"bookings*": None},
        {STREAM: {"UpdatedBy": HASHED}, "other": {"__source__": STREAM.upper()}},
    ],
)
def test_a_map_for_a_stream_that_does_not_exist_is_an_error(
    bench: Bench, stream_map: dict[str, Any], otherwise: dict[str, None]
) -> None:
    assert_refused(run(bench, {**stream_map, **otherwise}), "there is no stream", STREAM)
    assert bench.count_calls() == 0


@pytest.mark.parametrize(
    "stream_maps", [{STREAM: None}, {STREAM: "__NULL__"}, {"*": None}, {"__else__": None}]
)
def test_maps_that_leave_nothing_are_an_error(bench: Bench, stream_maps: dict[str, Any]) -> None:
    assert_refused(run(bench, stream_maps), "stream_maps removes all", "nothing would be read")
    assert bench.count_calls() == 0


def test_a_copy_is_written_without_the_original(bench: Bench) -> None:
    finished = run(bench, {STREAM: None, "usage": {"__source__": STREAM, "UpdatedBy": HASHED}})

    messages = finished.run.messages
    assert finished.code == 0
    assert {m["stream"] for m in messages if m["type"] != "STATE"} == {"usage"}
    assert len(finished.run.bookmark["emitted"]) == len(finished.run.records) == 20
    assert EMAIL not in finished.stdout


@pytest.mark.parametrize(
    ("stream_map", "parts"),
    [
        ({"UpdatedBY": HASHED}, ["UpdatedBY", "there is UpdatedBy"]),
        ({"updatedby": None}, ["updatedby", "there is UpdatedBy"]),
        ({"Updater": None}, ["there is no field 'Updater'"]),
        ({"__fliter__": "CreditUsed"}, ["__fliter__", "__filter__"]),
        ({"UpdatedBy": 5}, [f"{STREAM}.UpdatedBy", "an expression as text, or null"]),
        ({"UpdatedBy": {"a": 1}}, [f"{STREAM}.UpdatedBy"]),
        ({"UpdatedBy": "md5(UpdatedBy"}, [f"{STREAM}.UpdatedBy", "md5(UpdatedBy", "never closed"]),
        ({"UpdatedBy": ""}, [f"{STREAM}.UpdatedBy"]),
        ({"__filter__": "CreditUsed >"}, [f"{STREAM}.__filter__", "CreditUsed >"]),
        ({"__else__": "drop"}, [f"{STREAM}.__else__ must be null"]),
        ({"__alias__": 5}, [f"{STREAM}.__alias__ must be text"]),
        ({"__alias__": "1 +"}, ["1 +"]),
        ({"__key_properties__": "Id"}, [f"{STREAM}.__key_properties__ must be an array"]),
        ({"Id": None}, ["Id"]),
        ({"__key_properties__": ["Nope"]}, ["Nope"]),
        ("drop", [f"{STREAM} must be an object, or null"]),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(
    bench: Bench, stream_map: Any, parts: list[str]
) -> None:
    assert_refused(run(bench, {STREAM: stream_map}), "stream_maps", *parts)


@pytest.mark.parametrize("stream_maps", ["drop", [STREAM], {"__else__": "drop"}, {"__no__": None}])
def test_maps_that_are_none_are_refused(bench: Bench, stream_maps: Any) -> None:
    assert_refused(run(bench, stream_maps), "stream_maps")


def test_flattening_that_is_set_up_by_half_is_refused(bench: Bench) -> None:
    finished = run_tap_with(bench.settings(flattening_enabled=True))

    assert_refused(finished, "Setting flattening_max_depth is required")


# What fails on a record


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        ("len(ToStringText)", ["Function 'len' not defined"]),
        ("sha3(UpdatedBy)", ["Function 'sha3' not defined"]),
        ("md5(Updatedby)", ["'Updatedby' is not defined", "there is no such field"]),
        ("ToStringText.shout()", ["'shout'"]),
        ("CreditUsed + ToStringText", ["unsupported operand"]),
        ("int(UpdatedBy)", ["invalid literal for int()"]),
    ],
)
def test_the_cause_is_told_with_the_field(bench: Bench, expression: str, parts: list[str]) -> None:
    record_id = next(iter(bench.ledger))
    bench.ledger.change(record_id, CreditUsed=60)

    finished = run(bench, {STREAM: {"UpdatedBy": expression}})

    assert_told(finished, f"the record with Id {record_id}, field UpdatedBy", *parts)
    assert "is null" not in finished.last_line
    assert finished.run.records == []


@pytest.mark.parametrize(
    "expression",
    [
        "md5(UpdatedBy)",
        "md5(self)",
        "UpdatedBy.lower()",
        "record['UpdatedBy'][0]",
        "UpdatedBy + 'x'",
    ],
)
def test_the_hint_comes_where_null_is_the_cause(bench: Bench, expression: str) -> None:
    record_id = list(bench.ledger)[2]
    bench.ledger.change(record_id, UpdatedBy=None)

    finished = run(bench, {STREAM: {"UpdatedBy": expression}})

    assert_told(finished, f"Id {record_id}, field UpdatedBy", "UpdatedBy is null: does the expr")
    assert len(finished.run.records) == 2
    assert len(finished.run.bookmark["emitted"]) == 2


def test_a_filter_that_fails_is_told(bench: Bench) -> None:
    finished = run(bench, {STREAM: {"UpdatedBy": HASHED, "__filter__": "credit > 60"}})

    assert_told(finished, "field __filter__", "'credit' is not defined")


def test_a_field_that_is_not_selected_is_told(bench: Bench) -> None:
    catalog = json.loads(run_tap_with(bench.settings(), "--discover").stdout)
    for entry in catalog["streams"][0]["metadata"]:
        if entry["breadcrumb"] == ["properties", "UpdatedBy"]:
            entry["metadata"]["selected"] = False
    Path("catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    settings = bench.settings(stream_maps={STREAM: {"who": "md5(UpdatedBy)"}})

    finished = run_tap_with(settings, "--catalog", "catalog.json")

    assert_told(finished, "field who", "UpdatedBy isn't selected")


def test_a_record_that_one_of_two_maps_fails_on_is_in_neither_stream(bench: Bench) -> None:
    record_id = list(bench.ledger)[2]
    bench.ledger.change(record_id, UpdatedBy=None)

    finished = run(
        bench, {STREAM: {}, "usage": {"__source__": STREAM, "UpdatedBy": "md5(UpdatedBy)"}}
    )

    assert_told(finished, str(record_id), "field UpdatedBy")
    assert record_id not in finished.run.ids
    assert len(finished.run.records) == 2 * len(finished.run.bookmark["emitted"]) == 4


def test_a_field_that_the_api_leaves_out_counts_as_null(bench: Bench) -> None:
    record_id = list(bench.ledger)[2]
    fields = dict(bench.ledger.get(record_id) or {})
    del fields["UpdatedBy"]
    bench.ledger._put(record_id, fields)

    finished = run(bench, {STREAM: {"UpdatedBy": HASHED}})

    assert finished.code == 0, finished.last_line
    assert finished.run.records[2]["UpdatedBy"] is None


# What a filter drops


FILTER = {"__filter__": "CreditUsed is None or CreditUsed > 60"}


def test_what_a_filter_drops_does_not_count_as_emitted(bench: Bench) -> None:
    finished = run(bench, {STREAM: FILTER})

    kept = [i for i in bench.ledger if bench.expected(i)["CreditUsed"] not in range(61)]
    assert 0 < len(kept) < 20
    assert finished.run.ids == kept
    assert list(finished.run.bookmark["emitted"]) == [str(record_id) for record_id in kept]
    assert f"{len(kept)} records emitted, 20 of 20 Ids read" in finished.stderr


def test_by_id_what_a_filter_drops_comes_when_the_filter_lets_it(bench: Bench) -> None:
    first = bench.read(stream_maps={STREAM: FILTER})

    same = bench.read(stream_maps={STREAM: FILTER}, state=first.state)
    without = bench.read(state=first.state)

    assert same.ids == []
    assert sorted(first.ids + without.ids) == list(bench.ledger)


def test_by_search_what_a_filter_drops_is_not_searched_for_again(bench: Bench) -> None:
    settings = {"record_ids": None, "lookback_hours": 0, "stream_maps": {STREAM: FILTER}}
    first = bench.read(**settings)
    newest = max(bench.expected(i)["UpdatedOn"] for i in bench.ledger)
    bench.count_calls()

    second = bench.read(**settings, state=first.state)

    assert first.bookmark["replication_key_value"] == newest
    assert second.ids == []
    assert bench.count_calls() <= 3


def test_a_record_that_no_map_let_pass_gets_no_tombstone(bench: Bench) -> None:
    maps = {STREAM: {"__filter__": "_sdc_deleted_at is not None or (CreditUsed or 0) > 60"}}
    settings = {"stream_maps": maps, "on_missing_record": "tombstone", "record_ids": None}
    settings["record_ids"] = list(bench.ledger)
    first = bench.read(**settings)
    dropped = next(i for i in bench.ledger if i not in first.ids)
    kept = first.ids[0]
    bench.ledger.delete(dropped)
    bench.ledger.delete(kept)

    second = bench.read(**settings, state=first.state)

    assert second.ids == [kept]
    assert second.records[0]["_sdc_deleted_at"] is not None


# Tombstones, which maps have to let pass


@pytest.mark.parametrize(
    ("stream_map", "parts"),
    [
        ({"UpdatedBy": "md5(UpdatedBy)"}, ["a tombstone, field UpdatedBy", "UpdatedBy is null"]),
        (
            {"__filter__": "CreditUsed > 60"},
            ["a tombstone, field __filter__", "CreditUsed is null"],
        ),
        ({"__else__": None, "Id": "Id"}, ["without _sdc_deleted_at"]),
        ({"_sdc_deleted_at": None}, ["without _sdc_deleted_at"]),
        ({"__key_properties__": ["UniqueId"]}, ["without UniqueId"]),
    ],
)
def test_a_map_that_would_spoil_a_tombstone_is_refused(
    bench: Bench, stream_map: dict[str, Any], parts: list[str]
) -> None:
    maps = {STREAM: stream_map}

    assert_refused(run(bench, maps, on_missing_record="tombstone"), "stream_maps", *parts)


def test_where_no_tombstone_can_come_a_map_needs_no_care_for_it(bench: Bench) -> None:
    settings = {"on_missing_record": "tombstone", "record_ids": None}

    assert run(bench, {STREAM: {"UpdatedBy": "md5(UpdatedBy)"}}, **settings).code == 0


def test_a_filter_that_drops_tombstones_is_told(bench: Bench) -> None:
    gone = next(iter(bench.ledger))
    ids = list(bench.ledger)
    maps = {STREAM: {"__filter__": "CreditUsed is not None"}}
    bench.ledger.change(gone, CreditUsed=5)
    state = bench.read().state
    bench.ledger.delete(gone)
    Path("state.json").write_text(json.dumps(state), encoding="utf-8")

    settings = bench.settings(stream_maps=maps, on_missing_record="tombstone", record_ids=ids)
    finished = run_tap_with(settings, "--state", "state.json")

    assert finished.code == 0
    assert "WARNING" in finished.stderr
    assert "drops tombstones" in finished.stderr
    assert finished.run.records == []
    # So that it comes once the filter lets it.
    assert str(gone) in finished.run.bookmark["emitted"]
    del settings["stream_maps"]
    assert run_tap_with(settings, "--state", "state.json").run.ids == [gone]


# Decimals


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize(
    ("stream_map", "written"),
    [
        ({"UpdatedBy": None}, '"Price":12.10'),
        ({"net": "Price"}, '"net":12.10'),
        ({"Price": "self or 0.0"}, '"Price":12.10'),
        ({"Price": "Price * 1.2"}, '"Price":14.52'),
        ({"Price": "Price / 4"}, '"Price":3.025'),
        ({"Price": "Price + CreditUsed"}, '"Price":72.1'),
        ({"text": "str(Price)"}, '"text":"12.1"'),
        ({"text": "json.dumps(record['Price'])"}, '"text":"12.1"'),
        ({"__filter__": "Price == 12.1"}, '"Price":12.10'),
        ({"__alias__": "usage"}, '"Price":12.10'),
    ],
)
def test_a_map_computes_with_decimals_and_leaves_the_others_as_they_were(
    bench: Bench, stream_map: dict[str, Any], written: str
) -> None:
    record_id = next(iter(bench.ledger))
    bench.ledger.change(record_id, Price=Raw(b"12.10"), CreditUsed=60)

    run = bench.read(record_ids=[record_id], stream_maps={STREAM: stream_map})

    (line,) = [line.decode() for line in run.lines if b'"RECORD"' in line]
    assert written in line


@pytest.mark.usefixtures("price")
def test_flattening_leaves_decimals_as_they_were(bench: Bench) -> None:
    record_id = next(iter(bench.ledger))
    bench.ledger.change(record_id, Price=Raw(b"12.10"))

    run = bench.read(record_ids=[record_id], flattening_enabled=True, flattening_max_depth=1)

    (line,) = [line for line in run.lines if b'"RECORD"' in line]
    assert b'"Price":12.10' in line


@pytest.mark.usefixtures("price")
def test_a_map_that_fails_on_a_decimal_is_told(bench: Bench) -> None:
    record_id = next(iter(bench.ledger))
    bench.ledger.change(record_id, Price=Raw(b"12.10"))

    run = bench.run(record_ids=[record_id], stream_maps={STREAM: {"Price": "Price + 'x'"}})

    assert isinstance(run.error, SettingsError)
    assert f"Id {record_id}, field Price: unsupported operand" in str(run.error)
