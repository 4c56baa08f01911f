"""The SDK's own suite, and what the SDK gives besides: maps, selection, flattening."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from conftest import SEED, Bench
from outcomes import STREAM
from singer_sdk.testing import get_tap_test_class

from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.nexudus.entities import ALLOWANCES
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World
from tap_nexudus_usage.singer.output import Output
from tap_nexudus_usage.singer.tap import TapNexudusUsage

LEDGER_TABLE, ALLOWANCE_TABLE = tenant_tables(20, 30, SEED)
SDK_WORLD = World(LEDGER_TABLE, {ALLOWANCES: ALLOWANCE_TABLE})
SDK_CONFIG: dict[str, Any] = {
    "username": SDK_WORLD.user.username,
    "password": SDK_WORLD.user.password,
    # Set when the sandbox runs: the SDK makes its class, and a tap, on import.
    "api_url": "http://localhost",
    "record_ids": list(SDK_WORLD.ledger),
    "requests_per_minute": 0,
}


@pytest.fixture(scope="module", autouse=True)
def sandbox() -> Iterator[None]:
    with Sandbox(SDK_WORLD) as running:
        SDK_CONFIG["api_url"] = running.url
        yield


def everything() -> dict[str, Any]:
    """A catalog that selects both streams."""
    catalog: dict[str, Any] = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)
    for stream in catalog["streams"]:
        stream["metadata"][-1]["metadata"]["selected"] = True
    return catalog


# Of a column without a value, here `_sdc_deleted_at`, the suite says so, unless another column was
# tested before in the same process.
TestSdkSuite = pytest.mark.filterwarnings("ignore:No records were available to test")(
    get_tap_test_class(TapNexudusUsage, config=SDK_CONFIG, catalog=everything())
)


def catalog_of(bench: Bench) -> dict[str, Any]:
    tap = TapNexudusUsage(config=bench.settings())
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    return catalog


def test_stream_maps_work(bench: Bench) -> None:
    maps = {
        STREAM: {
            "__filter__": "CreditUsed is not None and CreditUsed > 60",
            "UpdatedBy": "md5(UpdatedBy)",
            "hours": "CreditUsed / 60",
            "ToStringText": None,
        }
    }

    run = bench.read(stream_maps=maps)

    expected = [i for i in bench.ledger if (bench.expected(i)["CreditUsed"] or 0) > 60]
    assert run.ids == expected
    assert all(len(record["UpdatedBy"]) == 32 for record in run.records)
    assert all("ToStringText" not in record for record in run.records)
    assert run.records[0]["hours"] == run.records[0]["CreditUsed"] / 60
    # What the map leaves out has been read all the same.
    assert bench.read(stream_maps=maps, state=run.state).ids == []


@pytest.mark.parametrize("full_table", [False, True])
def test_records_left_alone_are_written_byte_for_byte_as_the_sdk_would(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, full_table: bool
) -> None:
    moment = datetime(2026, 1, 5, 9, 30, 0, 120_000, tzinfo=timezone.utc)
    monkeypatch.setattr("tap_nexudus_usage.singer.writer.utc_now", lambda: moment)
    monkeypatch.setattr("singer_sdk.streams.core.utc_now", lambda: moment)
    # Of which the version is made.
    monkeypatch.setattr(TapNexudusUsage, "initialized_at", 7_000)
    record_id = next(iter(bench.ledger))
    room = 'Ω "quoted"\n\t\u2028 \x7f </script>'
    bench.ledger.change(record_id, BookingResourceName=room, CustomFields={"a": [1.5, None]})
    catalog = catalog_of(bench)
    if full_table:
        catalog["streams"][0]["replication_method"] = "FULL_TABLE"
    settings = {"catalog": catalog, "emit_activate_version_messages": full_table}

    short = bench.read(**settings).lines
    monkeypatch.setattr(Output, "takes_whole", False)
    long = bench.read(**settings).lines

    assert sum(b'"RECORD"' in line for line in short) == len(bench.ledger)
    assert [line for line in short if b'"RECORD"' in line] == [
        line for line in long if b'"RECORD"' in line
    ]


def test_a_stream_map_that_fails_on_a_record_is_told(bench: Bench) -> None:
    record_id = list(bench.ledger)[2]
    bench.ledger.change(record_id, UpdatedBy=None)

    run = bench.run(stream_maps={STREAM: {"UpdatedBy": "md5(UpdatedBy)"}})

    assert isinstance(run.error, SettingsError)
    assert "stream_maps" in str(run.error)
    assert str(record_id) in str(run.error)
    safe = {STREAM: {"UpdatedBy": "md5(UpdatedBy) if UpdatedBy else None"}}
    assert bench.read(stream_maps=safe).ids == list(bench.ledger)


def test_the_mark_of_a_tombstone_cannot_be_deselected(bench: Bench) -> None:
    catalog = catalog_of(bench)
    for entry in catalog["streams"][0]["metadata"]:
        if entry["breadcrumb"]:
            entry["metadata"]["selected"] = False

    run = bench.read(catalog=catalog)

    assert run.records[0].keys() == {"Id", "UpdatedOn", "_sdc_deleted_at"}


def test_a_renamed_stream_keeps_its_state(bench: Bench) -> None:
    run = bench.read(stream_maps={STREAM: {"__alias__": "usage"}})

    assert {m["stream"] for m in run.messages if m["type"] == "RECORD"} == {"usage"}
    assert len(run.bookmark["emitted"]) == len(bench.ledger)


def test_deselected_fields_stay_out(bench: Bench) -> None:
    catalog = catalog_of(bench)
    for entry in catalog["streams"][0]["metadata"]:
        if entry["breadcrumb"][-1:] == ["UpdatedBy"]:
            entry["metadata"]["selected"] = False

    run = bench.read(catalog=catalog)

    assert run.ids == list(bench.ledger)
    assert all("UpdatedBy" not in record for record in run.records)
    assert bench.read(catalog=catalog, state=run.state).ids == []


def test_flattening_works(bench: Bench) -> None:
    run = bench.read(flattening_enabled=True, flattening_max_depth=1)

    assert run.records == [bench.expected(record_id) for record_id in bench.ledger]
