"""What the server says gets into a log without its secrets, however it says them."""

from __future__ import annotations

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


@pytest.mark.parametrize("before", ["", " " * 3_990, "\r\n" * 2_000, "x" * 190])
def test_a_secret_is_replaced_before_the_text_is_cut(before: str) -> None:
    redactor = Redactor()
    redactor.add(SECRET)

    excerpt = redactor.excerpt(f"{before}{SECRET}".encode())

    assert "zaub" not in excerpt
    assert len(excerpt) <= 201


def test_a_character_that_is_cut_in_two_is_no_other_encoding() -> None:
    assert readable("\u4f1a".encode() * 5_000) == "\u4f1a" * 1_333
