"""docs/singer-sdk.md names places in the SDK, and rooms of the tap, that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from singer_sdk.helpers._packaging import get_package_version

PROJECT = Path(__file__).parents[2]
DOCUMENT = (PROJECT / "docs/singer-sdk.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!what|---)(.+) \| (.+) \|$", DOCUMENT, re.MULTILINE)
PLACES = sorted({place for _, cell in ROWS for place in re.findall(r"`([^`]+)`", cell)})


def test_the_document_is_about_the_version_in_use() -> None:
    assert f"singer-sdk](https://sdk.meltano.com) {get_package_version('singer-sdk')}." in DOCUMENT


def test_each_row_says_where() -> None:
    assert len(ROWS) > 25
    assert all(re.findall(r"`([^`]+)`", cell) for _, cell in ROWS)


@pytest.mark.parametrize("place", PLACES)
def test_the_place_is_in_the_sdk(place: str) -> None:
    parts = place.split(".")
    # As much of it as is a module, then what is in there.
    for length in range(len(parts), 0, -1):
        name = ".".join(["singer_sdk", *parts[:length]])
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return
    raise AssertionError(place)


def test_what_gets_by_is_in_the_tap() -> None:
    files = re.findall(r"`((?:singer/)?\w+\.py)`", DOCUMENT)

    assert len(files) > 8
    for file in files:
        assert (PROJECT / "tap_nexudus_usage" / file).exists(), file
