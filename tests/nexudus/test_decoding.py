"""Numbers keep the digits that the API wrote; what no double comes near spoils its field only."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_nexudus_usage.nexudus import grants, pages
from tap_nexudus_usage.nexudus.decoding import NotJson, decode, json_text
from tap_nexudus_usage.nexudus.transport import UnusableAnswerError

BEYOND_64_BITS = [
    "1e400",
    "-1E+400",
    "1.8e308",
    "1e-400",
    "0e-20000",
    "1e9999999999999999999999",
    "1e-9999999999999999999999",
    f"0.{'1' * 16_000}",
    "9" * 5_000,
]

texts = st.text(st.characters(exclude_categories=["Cs"]))
without_decimals = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**200), 2**200), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def decoded(value: str) -> Any:
    """A field's value, from how it was written; the other fields have to come, too."""
    field, *others = decode(
        f'[{{"Field": {value}, "Other": 0.10}}, {{"Field": 1}}]'.encode(), list[dict[str, Any]]
    )
    assert field["Other"].as_tuple() == Decimal("0.10").as_tuple()
    assert others == [{"Field": 1}]
    return field["Field"]


@pytest.mark.parametrize(
    "written", ["12.10", "0.1", "-0.0", "1E+3", "0.12345678901234567", "1.7976931348623157E+308"]
)
def test_a_decimal_keeps_its_digits(written: str) -> None:
    assert (type(decoded(written)), str(decoded(written))) == (Decimal, written)


@pytest.mark.parametrize("written", ["12", "-0", str(2**63), "1" + "0" * 400])
def test_an_integer_is_one(written: str) -> None:
    assert (type(decoded(written)), decoded(written)) == (int, int(written))


@pytest.mark.parametrize("written", BEYOND_64_BITS)
def test_a_number_that_no_double_comes_near_is_none(written: str) -> None:
    assert repr(decoded(written)) == f"{written[:30]}, beyond 64 bits"


@pytest.mark.parametrize("written", ["NaN", "-Infinity", '["\\ud83d"]', '{"a": 1e400}'])
def test_what_is_no_json_spoils_its_field_only(written: str) -> None:
    assert isinstance(decoded(written), NotJson)


@settings(derandomize=True, deadline=None)
@given(without_decimals)
def test_json_text_is_what_the_standard_library_writes(value: Any) -> None:
    assert json_text(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('{"a": [1.50, 1e3, -0.0]}', '{"a":[1.50,1E+3,-0.0]}'),
        (f"[{2**70}, {2**70}.5]", f"[{2**70},{2**70}.5]"),
        ('"\\u007f\\u0001\\n\\u2028/Ü"', '"\x7f\\u0001\\n\u2028/Ü"'),
    ],
)
def test_json_text_keeps_numbers_as_they_were(written: str, text: str) -> None:
    assert json_text(decoded(written)) == text


@pytest.mark.parametrize("total", ["10", "10.0", "1e1", '"10"'])
def test_a_count_may_be_written_as_a_decimal(total: str) -> None:
    body = f'{{"Records": [{{"Id": 1}}], "CurrentPage": 1.0, "TotalItems": {total}}}'

    assert pages.parse(body.encode(), 1, 1).total_items == 10


@pytest.mark.parametrize("total", ["10.5", "-1", "1e400", "NaN", "true"])
def test_a_count_that_is_none_is_quoted(total: str) -> None:
    body = f'{{"Records": [{{"Id": 1}}], "TotalItems": {total}}}'

    with pytest.raises(UnusableAnswerError, match=rf"(?i)TotalItems .* but is {total}"):
        pages.parse(body.encode(), 1, 1)


@pytest.mark.parametrize(
    ("written", "seconds"), [("604799.5", 604_799.5), ("1e3", 1_000), ("1e400", float("inf"))]
)
def test_a_lifetime_may_be_written_as_a_decimal(written: str, seconds: float) -> None:
    body = f'{{"access_token": "x", "expires_in": {written}}}'

    assert grants.parse(body.encode()).expires_in == seconds


@pytest.mark.parametrize("total", ["[]", "{}", "[0]"])
def test_a_count_that_has_no_hash_is_none(total: str) -> None:
    with pytest.raises(UnusableAnswerError):
        pages.parse(f'{{"Records": null, "TotalItems": {total}}}'.encode(), 1, 25)


@pytest.mark.parametrize("size", ["5", "5.0", "0.5e1"])
def test_a_smaller_page_is_told_of_however_its_size_is_written(size: str) -> None:
    body = f'{{"Records": [{{"Id": 1}}], "TotalItems": 6, "CurrentPageSize": {size}}}'

    assert len(pages.parse(body.encode(), 2, 10).records) == 1
