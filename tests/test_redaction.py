"""What the server says gets into a log without its secrets, however it says them."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest

from tap_nexudus_usage.redaction import Redactor, readable

SECRET = 'zaub\u00e4rwort+/ "&'


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_secret_is_found_in_whatever_encoding(encoding: str) -> None:
    redactor = Redactor()
    redactor.add(SECRET)

    excerpt = redactor.excerpt(f"you are {SECRET}!".encode(encoding))

    assert "***" in excerpt
    assert "rwort" not in excerpt


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(SECRET, ensure_ascii=False),
        # As .NET's System.Text.Json and its UrlEncode do.
        r"zaub\u00E4rwort\u002B/ \u0022\u0026",
        "zaub%c3%a4rwort%2b%2f+%22%26",
        quote(SECRET, safe=""),
        html.escape(SECRET),
        "zaub&#xE4;rwort&#43;&#x2f; &#34;&amp;",
    ],
)
def test_a_secret_is_found_however_it_is_written(written: str) -> None:
    redactor = Redactor()
    redactor.add(SECRET)

    assert "***" in redactor.redact(f"you are {written}!")
    assert "rwort" not in redactor.redact(f"you are {written}!")


@pytest.mark.parametrize("before", ["", " " * 3_990, "\r\n" * 2_000, "x" * 190])
def test_a_secret_is_replaced_before_the_text_is_cut(before: str) -> None:
    redactor = Redactor()
    redactor.add(SECRET)

    excerpt = redactor.excerpt(f"{before}{SECRET}".encode())

    assert "zaub" not in excerpt
    assert len(excerpt) <= 201


def test_a_character_that_is_cut_in_two_is_no_other_encoding() -> None:
    assert readable("\u4f1a".encode() * 5_000) == "\u4f1a" * 1_333
