"""Catalogs of every shape that runners, tools and hands make are followed, or refused in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, run_tap_with
from outcomes import STREAM, Finished, Run

from tap_nexudus_usage.singer.tap import TapNexudusUsage

Catalog = dict[str, Any]


@pytest.fixture
def catalog() -> Catalog:
    """What discovery gives."""
    catalog: Catalog = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)
    return catalog


def metadata_of(catalog: Catalog, *path: str) -> dict[str, Any]:
    breadcrumb = ["properties", *path] if path else []
    for item in catalog["streams"][0]["metadata"]:
        if item["breadcrumb"] == breadcrumb:
            metadata: dict[str, Any] = item["metadata"]
            return metadata
    raise AssertionError(path)


def run(bench: Bench, catalog: Catalog, *args: str, **settings: Any) -> Finished:
    Path("catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    return run_tap_with(bench.settings(**settings), "--catalog", "catalog.json", *args)


def read(bench: Bench, catalog: Catalog, *args: str, **settings: Any) -> tuple[Run, str]:
    finished = run(bench, catalog, *args, **settings)
    assert finished.code == 0, finished.stderr
    return finished.run, finished.stderr


def schema_message(run: Run) -> dict[str, Any]:
    (message,) = (message for message in run.messages if message["type"] == "SCHEMA")
    return message


def assert_told(finished: Finished, *parts: str) -> None:
    assert finished.code == 1
    assert finished.stdout == ""
    assert "CRITICAL" in finished.last_line
    assert "bug" not in finished.last_line
    for part in parts:
        assert part in finished.last_line


def test_the_catalog_discovered_changes_nothing(bench: Bench, catalog: Catalog) -> None:
    with_it, stderr = read(bench, catalog)
    without = run_tap_with(bench.settings()).run

    assert with_it.records == without.records == [bench.expected(i) for i in bench.ledger]
    assert schema_message(with_it) == schema_message(without)
    assert "WARNING" not in stderr


def test_a_field_removed_from_the_schema_is_left_out_with_a_warning(
    bench: Bench, catalog: Catalog
) -> None:
    del catalog["streams"][0]["schema"]["properties"]["UpdatedBy"]

    run, stderr = read(bench, catalog)

    fields = schema_message(run)["schema"]["properties"].keys()
    assert "UpdatedBy" not in fields
    assert all(record.keys() == fields for record in run.records)
    assert "@example.com" not in json.dumps(run.messages)
    assert "WARNING" in stderr
    assert f"Left out, because the catalog's schema of {STREAM} lacks them: UpdatedBy" in stderr


@pytest.mark.parametrize("field", ["Id", "UpdatedOn", "_sdc_deleted_at"])
def test_what_the_stream_cannot_do_without_stays(
    bench: Bench, catalog: Catalog, field: str
) -> None:
    del catalog["streams"][0]["schema"]["properties"][field]
    metadata_of(catalog, field).update(selected=False, inclusion="available")

    run, _ = read(bench, catalog)

    assert field in schema_message(run)["schema"]["properties"]
    assert all(field in record for record in run.records)


@pytest.mark.parametrize(
    "entry",
    [
        {"metadata": [{"breadcrumb": [], "metadata": {"selected": True}}]},
        {"selected": True},
        {"metadata": [], "key_properties": []},
        {"metadata": [{"breadcrumb": [], "metadata": {"inclusion": "automatic"}}]},
        {"metadata": None, "key_properties": None, "replication_key": None},
    ],
)
@pytest.mark.parametrize("has_schema", [True, False])
def test_a_stream_has_its_own_keys_whatever_the_catalog_lacks(
    bench: Bench, catalog: Catalog, entry: dict[str, Any], *, has_schema: bool
) -> None:
    schema = {"schema": catalog["streams"][0]["schema"]} if has_schema else {}
    hand_made = {"streams": [{"tap_stream_id": STREAM, **schema, **entry}]}

    run, stderr = read(bench, hand_made)

    message = schema_message(run)
    assert message["key_properties"] == ["Id"]
    assert message["bookmark_properties"] == ["UpdatedOn"]
    assert len(message["schema"]["properties"]) == 17
    assert run.records == [bench.expected(i) for i in bench.ledger]
    assert run.bookmark["replication_key"] == "UpdatedOn"
    assert "in incremental mode" in stderr


def test_other_keys_are_ignored_with_a_warning(bench: Bench, catalog: Catalog) -> None:
    catalog["streams"][0]["key_properties"] = ["UniqueId"]

    run, stderr = read(bench, catalog)

    assert schema_message(run)["key_properties"] == ["Id"]
    assert "The catalog's keys" in stderr
    assert "__key_properties__" in stderr


# Selection


def deselected_by_metadata(catalog: Catalog) -> None:
    metadata_of(catalog, "UpdatedBy")["selected"] = False


def deselected_by_default(catalog: Catalog) -> None:
    metadata_of(catalog, "UpdatedBy")["selected-by-default"] = False


def deselected_as_unsupported(catalog: Catalog) -> None:
    metadata_of(catalog, "UpdatedBy").update(selected=True, inclusion="unsupported")


def deselected_in_the_schema(catalog: Catalog) -> None:
    catalog["streams"][0]["schema"]["properties"]["UpdatedBy"]["selected"] = False


def deselected_where_meltano_found_no_metadata(catalog: Catalog) -> None:
    metadata_of(catalog, "UpdatedBy").update(selected=False, inclusion="automatic")


def deselected_without_other_metadata(catalog: Catalog) -> None:
    field = {"breadcrumb": ["properties", "UpdatedBy"], "metadata": {"selected": False}}
    catalog["streams"][0]["metadata"] = [field]


DESELECTIONS = [
    deselected_by_metadata,
    deselected_by_default,
    deselected_as_unsupported,
    deselected_in_the_schema,
    deselected_where_meltano_found_no_metadata,
    deselected_without_other_metadata,
]


@pytest.mark.parametrize("deselect", DESELECTIONS)
def test_a_deselected_field_is_in_no_message(
    bench: Bench, catalog: Catalog, deselect: Callable[[Catalog], None]
) -> None:
    deselect(catalog)

    run, _ = read(bench, catalog)

    assert run.ids == list(bench.ledger)
    assert "UpdatedBy" not in schema_message(run)["schema"]["properties"]
    assert "BookingId" in schema_message(run)["schema"]["properties"]
    assert "UpdatedBy" not in json.dumps(run.messages)
    assert "@example.com" not in json.dumps(run.messages)


@pytest.mark.parametrize(
    "catalog",
    [
        {"streams": []},
        {},
        {"streams": [{"tap_stream_id": STREAM, "selected": False}]},
        {"streams": [{"tap_stream_id": STREAM, "schema": {"selected": False}}]},
        {
            "streams": [
                {
                    "tap_stream_id": STREAM,
                    "metadata": [{"breadcrumb": [], "metadata": {"inclusion": "available"}}],
                }
            ]
        },
        # What Meltano makes of `select: ["other.*"]` where it finds no metadata.
        {
            "streams": [
                {
                    "tap_stream_id": STREAM,
                    "metadata": [
                        {
                            "breadcrumb": [],
                            "metadata": {"inclusion": "automatic", "selected": False},
                        }
                    ],
                }
            ]
        },
    ],
)
def test_nothing_selected_is_an_error(bench: Bench, catalog: Catalog) -> None:
    assert_told(run(bench, catalog), "catalog")
    assert bench.count_calls() == 0


def test_a_stream_that_does_not_exist_is_named(bench: Bench, catalog: Catalog) -> None:
    other = {"tap_stream_id": "bookings", "schema": {}, "metadata": []}
    catalog["streams"].append(other)

    run_, stderr = read(bench, catalog)

    assert run_.ids == list(bench.ledger)
    assert "WARNING" in stderr
    assert "'bookings'" in stderr
    alone = run(bench, {"streams": [other]})
    assert_told(alone, "selects no stream", STREAM)
    assert "'bookings'" in alone.stderr


def test_fields_that_do_not_exist_are_named(bench: Bench, catalog: Catalog) -> None:
    catalog["streams"][0]["schema"]["properties"]["Colour"] = {"type": ["string", "null"]}
    field = {"breadcrumb": ["properties", "UpdatedBY"], "metadata": {"selected": False}}
    catalog["streams"][0]["metadata"].append(field)

    run, stderr = read(bench, catalog)

    assert "Colour" not in schema_message(run)["schema"]["properties"]
    assert f"fields that {STREAM} doesn't have: Colour, UpdatedBY" in stderr


def test_a_type_changed_in_the_schema_is_passed_on(bench: Bench, catalog: Catalog) -> None:
    fields = catalog["streams"][0]["schema"]["properties"]
    fields["CreditUsed"] = {"type": ["number", "null"]}
    fields["SystemId"] = {}
    fields["CreatedOn"] = {"selected": True}

    run, _ = read(bench, catalog)

    passed_on = schema_message(run)["schema"]["properties"]
    assert passed_on["CreditUsed"] == {"type": ["number", "null"]}
    assert passed_on["SystemId"]["type"] == ["string", "null"]
    assert passed_on["CreatedOn"]["format"] == "date-time"


# Replication


@pytest.mark.crossing
@pytest.mark.parametrize("method", ["FULL_TABLE", "full_table", " Full_Table"])
@pytest.mark.parametrize("place", ["root", "forced", "entry"])
def test_the_replication_method_counts_wherever_it_is_said(
    bench: Bench, catalog: Catalog, method: str, place: str
) -> None:
    state = bench.read().state
    Path("state.json").write_text(json.dumps(state), encoding="utf-8")
    if place == "entry":
        catalog["streams"][0]["replication_method"] = method
    else:
        name = "replication-method" if place == "root" else "forced-replication-method"
        metadata_of(catalog)[name] = method

    run, stderr = read(bench, catalog, "--state", "state.json")

    assert run.ids == list(bench.ledger)
    assert "in full_table mode" in stderr


def test_the_metadata_counts_before_the_entry(bench: Bench, catalog: Catalog) -> None:
    catalog["streams"][0]["replication_method"] = "FULL_TABLE"
    metadata_of(catalog)["replication-method"] = "incremental"

    assert "in incremental mode" in read(bench, catalog)[1]


@pytest.mark.parametrize("place", ["root", "forced", "entry"])
@pytest.mark.parametrize("method", ["LOG_BASED", "log_based", "everything"])
def test_a_replication_method_that_is_not_supported_is_an_error(
    bench: Bench, catalog: Catalog, place: str, method: str
) -> None:
    if place == "entry":
        catalog["streams"][0]["replication_method"] = method
    else:
        name = "replication-method" if place == "root" else "forced-replication-method"
        metadata_of(catalog)[name] = method

    finished = run(bench, catalog)

    assert_told(finished, "replication method", method, "INCREMENTAL or FULL_TABLE")
    assert bench.count_calls() == 0


@pytest.mark.parametrize("in_metadata", [True, False])
def test_another_replication_key_is_an_error(
    bench: Bench, catalog: Catalog, *, in_metadata: bool
) -> None:
    if in_metadata:
        metadata_of(catalog)["replication-key"] = "CreatedOn"
    else:
        catalog["streams"][0]["replication_key"] = "CreatedOn"
        del metadata_of(catalog)["replication-key"]

    assert_told(run(bench, catalog), "replication key", "CreatedOn", "UpdatedOn")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tap_stream_id": None}, "streams.0.tap_stream_id"),
        ({"schema": []}, "streams.0.schema"),
        ({"schema": {"properties": {"Id": "integer"}}}, "streams.0.schema.properties.Id"),
        ({"metadata": {}}, "streams.0.metadata"),
        ({"metadata": [{"metadata": {}}]}, "'breadcrumb'"),
        ({"metadata": [{"breadcrumb": "properties", "metadata": {}}]}, "breadcrumb"),
        (
            {"metadata": [{"breadcrumb": [], "metadata": {"selected": "false"}}]},
            "streams.0.metadata.0.metadata.selected must be boolean",
        ),
        ({"replication_method": 5}, "streams.0.replication_method"),
    ],
)
def test_a_catalog_that_cannot_be_understood_is_told(
    bench: Bench, catalog: Catalog, change: dict[str, Any], named: str
) -> None:
    catalog["streams"][0] |= change

    assert_told(run(bench, catalog), "The catalog can't be understood", named)


@pytest.mark.parametrize("streams", [None, {}, [1], ["x"], 3])
def test_streams_that_are_none_are_told(bench: Bench, streams: Any) -> None:
    assert_told(run(bench, {"streams": streams}), "The catalog can't be understood", "streams")
