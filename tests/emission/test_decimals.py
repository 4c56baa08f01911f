"""Decimals leave as the API wrote them, in a spelling that every common target loads."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from math import isinf
from pathlib import Path
from typing import Any

import pytest
from batch_files import content
from conftest import Bench
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from singer_sdk.contrib.msgspec import serialize_jsonl

from tap_nexudus_usage.emission.records import RecordShape
from tap_nexudus_usage.errors import InvalidRecordError
from tap_nexudus_usage.nexudus.decoding import decode
from tap_nexudus_usage.nexudus.pages import key
from tap_nexudus_usage.sandbox.tenant import Tenant

SHAPE = RecordShape(
    {
        "type": "object",
        "required": ["Id"],
        "properties": {
            "Id": {"type": "integer"},
            "Price": {"type": ["number", "null"]},
            "Uses": {"type": ["integer", "null"]},
            "Name": {"type": ["string", "null"]},
            "CustomFields": {"type": ["string", "null"]},
        },
    },
    {"CustomFields"},
)


def conformed(**fields: str) -> dict[str, Any]:
    body = ", ".join(f'"{name}": {value}' for name, value in {"Id": "7", **fields}.items())
    return SHAPE.conform(decode(f"{{{body}}}".encode(), dict[str, Any]))


def emitted(price: str) -> str:
    """A price as it leaves the tap, from how the API wrote it."""
    line = bytes(serialize_jsonl({"Price": conformed(Price=price)["Price"]})).decode()
    return line.removeprefix('{"Price":').removesuffix("}\n")


@pytest.mark.parametrize(
    ("written", "leaves"),
    [
        ("12.10", "12.10"),
        ("0.1", "0.1"),
        ("-0.0", "-0.0"),
        ("0.12345678901234567", "0.12345678901234567"),
        ("123456789012345678.123", "123456789012345678.123"),
        ("1e3", "1E+3"),
        ("1e-9", "1E-9"),
        ("1.0E22", "1.0E+22"),
        ("12", "12"),
        ("null", "null"),
        (f"{2**63 - 1}", f"{2**63 - 1}"),
        # A target that takes bare digits for an integer has no type for these.
        (f"{2**63}", f"{2**63}.0"),
        (f"-{10**40}", f"-{10**40}.0"),
        (f"{10**40}e0", f"{10**40}.0"),
    ],
)
def test_a_number_leaves_as_it_came(written: str, leaves: str) -> None:
    assert emitted(written) == leaves


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.one_of(
        st.decimals(allow_nan=False, allow_infinity=False),
        st.floats(allow_nan=False, allow_infinity=False).map(lambda number: Decimal(repr(number))),
    ),
    st.sampled_from([str, lambda number: str(number).lower(), lambda number: f"{number:f}"]),
)
@example(Decimal(f"{2**64}"), str)
def test_a_number_keeps_its_value_and_its_digits(number: Decimal, spell: Any) -> None:
    written = spell(number)
    if isinf(float(written)) or (number and not float(written)):
        with pytest.raises(InvalidRecordError):
            emitted(written)
        return

    leaves = Decimal(emitted(written))

    assert leaves == number
    digits = Decimal(written).as_tuple().digits
    assert leaves.as_tuple().digits in {digits, (*digits, 0)}


@pytest.mark.parametrize(
    ("value", "expected", "shown"),
    [
        ("true", "number or null", "True"),
        ('"12.10"', "number or null", "'12.10'"),
        ("[0.50]", "number or null", "[0.50]"),
        ('{"a": [0.50, NaN]}', "number or null", "{'a': [0.50, NaN]}"),
        ("NaN", "number or null", "NaN"),
        ("-Infinity", "number or null", "-Infinity"),
        ("1e400", "number or null", "1e400, beyond 64 bits"),
        ("1e-400", "number or null", "1e-400, beyond 64 bits"),
        (f"{10**400}", "a number of 64 bits", "1000000"),
    ],
)
def test_what_is_no_number_is_told(value: str, expected: str, shown: str) -> None:
    with pytest.raises(InvalidRecordError) as raised:
        conformed(Price=value)

    assert "Record Id 7 breaks the schema" in str(raised.value)
    assert f"Price should be {expected}, but is {shown}" in str(raised.value)


@pytest.mark.parametrize(
    ("written", "uses"), [("60.0", 60), ("6e1", 60), ("-0.0", 0), ("9007199254740993.0", 2**53 + 1)]
)
def test_an_integer_written_as_a_decimal_is_one(written: str, uses: int) -> None:
    found = conformed(Uses=written)["Uses"]

    assert (type(found), found) == (int, uses)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("60.5", "integer or null"), ("1e300", "an integer of 64 bits"), ("1e400", "integer or null")],
)
def test_a_decimal_that_is_no_integer_is_told(written: str, expected: str) -> None:
    with pytest.raises(InvalidRecordError, match=f"Uses should be {expected}, but is") as raised:
        conformed(Uses=written)

    assert written.replace("e3", "E+3") in str(raised.value)


def test_the_judge_blames_no_good_decimal() -> None:
    with pytest.raises(InvalidRecordError, match="Name should be string or null"):
        conformed(Uses="60.0", Price="12.10", Name="1.50")


def test_json_text_keeps_decimals_as_they_were() -> None:
    custom = '{"Data": [{"Name": "Größe", "Value": 1.50}, 1e3, 0.12345678901234567]}'

    assert conformed(CustomFields=custom)["CustomFields"] == (
        '{"Data":[{"Name":"Größe","Value":1.50},1E+3,0.12345678901234567]}'
    )


@pytest.mark.parametrize("batches", [False, True])
@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.usefixtures("price")
def test_a_price_leaves_as_the_api_wrote_it(bench: Bench, by_id: bool, batches: bool) -> None:
    prices = [b"12.10", b"0.1", b"0.12345678901234567", b"null", b"12"]
    for record_id, price in zip(bench.ledger, prices, strict=False):
        bench.ledger.change(record_id, Price=Raw(price))
    batch_config = {
        "encoding": {"format": "jsonl", "compression": "none"},
        "storage": {"root": Path.cwd().as_uri()},
    }
    settings = {} if by_id else {"record_ids": None}

    run = bench.read(**settings, **({"batch_config": batch_config} if batches else {}))

    if batches:
        (file,) = Path.cwd().glob("*.json")
        lines = content(file).splitlines()
    else:
        lines = [line for line in run.lines if b'"RECORD"' in line]
    found = [line.partition(b'"Price":')[2].partition(b",")[0] for line in lines]
    assert sorted(filter(None, found)) == sorted(prices)


@pytest.mark.parametrize("batch_size", [1, 200])
def test_an_id_written_as_a_decimal_is_the_one_asked_for(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    shows = Tenant.shows

    def show(tenant: Tenant, record: bytes, **where: bool) -> bytes:
        return re.sub(rb'("Id":\d+)', rb"\1.0", shows(tenant, record, **where))

    monkeypatch.setattr(Tenant, "shows", show)
    bench = make_bench()

    run = bench.read(batch_size=batch_size)

    assert run.ids == list(bench.ledger)
    assert bench.count_calls() == 1 + len(run.ids) // min(batch_size, len(run.ids))


def test_an_id_is_the_same_however_it_is_written() -> None:
    assert key({"Id": Decimal("5.0")}) == key({"Id": Decimal("5E+0")}) == key({"Id": 5})
