"""What leaves the tap: checked, canonical, nothing unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Bench
from jsonschema import Draft202012Validator

from tap_nexudus_usage.errors import InvalidRecordError
from tap_nexudus_usage.singer.tap import TapNexudusUsage


def one_changed(bench: Bench, **fields: Any) -> int:
    record_id = list(bench.ledger)[1]
    bench.ledger.change(record_id, **fields)
    return record_id


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("CreditUsed", "60", "integer or null"),
        ("CreditUsed", True, "integer or null"),
        ("CreditUsed", 0.5, "integer or null"),
        ("BookingResourceName", 7, "string or null"),
        ("IsNew", 1, "boolean or null"),
        ("CreatedOn", 20250115, "string or null"),
        ("CreatedOn", "yesterday", "a date-time"),
        ("UpdatedBy", {"Email": "a@example.com"}, "string or null"),
    ],
)
def test_a_record_that_breaks_the_schema_ends_the_run(
    bench: Bench, field: str, value: object, expected: str
) -> None:
    record_id = one_changed(bench, **{field: value})

    run = bench.run()

    assert isinstance(run.error, InvalidRecordError)
    for part in (str(record_id), field, expected, repr(value)):
        assert part in str(run.error)
    assert run.ids == list(bench.ledger)[:1]


def test_a_record_that_breaks_the_schema_is_skipped_and_counted(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    record_id = one_changed(bench, CreditUsed="60")

    run = bench.read(on_invalid_record="warn")

    assert run.ids == [i for i in bench.ledger if i != record_id]
    assert "1 records skipped" in caplog.text
    assert str(record_id) in caplog.text

    bench.ledger.change(record_id, CreditUsed=60)
    assert bench.read(state=run.state).ids == [record_id]


@pytest.mark.parametrize("way", [{}, {"record_ids": None}], ids=["id", "search"])
def test_what_is_not_emitted_is_not_checked(bench: Bench, way: dict[str, Any]) -> None:
    record_id = list(bench.ledger)[1]
    first = bench.read(**way)
    stamp = (bench.ledger.get(record_id) or {})["UpdatedOn"]

    bench.ledger.change(record_id, UpdatedOn=stamp, CreditUsed="60")
    assert bench.read(state=first.state, **way).records == []

    bench.ledger.change(record_id)
    assert isinstance(bench.run(state=first.state, **way).error, InvalidRecordError)


def test_what_may_be_due_is_checked(bench: Bench) -> None:
    first = bench.read()
    one_changed(bench, UpdatedOn="yesterday")

    assert isinstance(bench.run(state=first.state).error, InvalidRecordError)


def test_a_whole_number_written_as_a_float_is_an_integer(bench: Bench) -> None:
    record_id = one_changed(bench, CreditUsed=60.0)

    assert bench.read(record_ids=[record_id]).records[0]["CreditUsed"] == 60


@pytest.mark.parametrize("empty", ["", " ", "\r\n"])
@pytest.mark.parametrize("field", ["BookingFromTime", "BookingToTime", "CreatedOn", "UpdatedOn"])
def test_empty_text_where_a_date_is_due_is_null(bench: Bench, field: str, empty: str) -> None:
    record_id = one_changed(bench, **{field: empty})

    run = bench.read()

    assert run.ids == list(bench.ledger)
    assert run.records[1] == {**bench.expected(record_id), field: None}
    assert bench.read(state=run.state).ids == []


def test_empty_text_where_text_is_due_stays(bench: Bench) -> None:
    record_id = one_changed(bench, BookingResourceName="", UniqueId=" ")

    record = bench.read(record_ids=[record_id]).records[0]

    assert (record["BookingResourceName"], record["UniqueId"]) == ("", " ")


def test_an_unknown_field_is_dropped_and_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for record_id in bench.ledger:
        bench.ledger.change(record_id, Surprise="x")

    run = bench.read()

    assert run.records == [
        {k: v for k, v in bench.expected(i).items() if k != "Surprise"} for i in bench.ledger
    ]
    assert caplog.text.count("Surprise") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ({}, "{}"),
        ([], "[]"),
        ("text", '"text"'),
        ({"Data": [{"Name": "Größe", "Value": 1.5}]}, '{"Data":[{"Name":"Größe","Value":1.5}]}'),
    ],
)
@pytest.mark.parametrize("field", ["CustomFields", "LocalizationDetails"])
def test_free_form_fields_leave_as_json_text(
    bench: Bench, field: str, value: object, text: str | None
) -> None:
    record_id = one_changed(bench, **{field: value})

    assert bench.read(record_ids=[record_id]).records[0][field] == text


def test_text_of_any_script_and_length_arrives_as_it_was(bench: Bench) -> None:
    name = "会議室 “A”\n\t🎙 \\ ' \x00 " + "x" * 100_000
    record_id = one_changed(bench, BookingResourceName=name, CreditUsed=2**62)

    record = bench.read(record_ids=[record_id]).records[0]

    assert (record["BookingResourceName"], record["CreditUsed"]) == (name, 2**62)


def test_what_is_emitted_fits_the_schema_that_is_announced(bench: Bench) -> None:
    run = bench.read()

    schema = next(m["schema"] for m in run.messages if m["type"] == "SCHEMA")
    for record in run.records:
        Draft202012Validator(schema).validate(record)
        assert record.keys() == schema["properties"].keys()


def test_the_schema_has_types_that_every_target_loads() -> None:
    schema = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)["streams"][0][
        "schema"
    ]

    for name, definition in schema["properties"].items():
        types = definition["type"]
        assert types == "integer" if name == "Id" else (len(types) == 2 and "null" in types)
        assert definition.keys() <= {"type", "format", "description"}
        assert definition.get("format") in {None, "date-time"}
        assert definition["description"]
