"""The pictures are those of what they show, are found, and are fit for where they are shown."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import duckdb
import msgspec
import pytest
from conftest import Bench

from bench import plots
from bench.results import Results
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tools.pictures import minutes, runs, terminal, way
from tools.pictures.palette import PALETTES, Palette
from tools.pictures.tapping import output_of, tap_command

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "docs" / "pictures"
STALE = "`make pictures` draws it anew"
SVGS = sorted(FOLDER.glob("*.svg"))
PICTURES = [*SVGS, *sorted((PROJECT / "bench").glob("*.png"))]
of_each_palette = pytest.mark.parametrize("palette", PALETTES, ids=["light", "dark"])


def drawn(name: str, palette: Palette) -> str:
    return (FOLDER / f"{name}{palette.suffix}.svg").read_text(encoding="utf-8")


@of_each_palette
def test_the_way_is_drawn_as_it_is(palette: Palette) -> None:
    assert drawn("way", palette) == way.draw(palette), STALE


@pytest.mark.wide
@pytest.mark.skipif(sys.version_info < (3, 11), reason="another matplotlib draws there")
def test_the_credits_plotted_are_those_that_the_tap_brings() -> None:
    used = minutes.minutes_used(minutes.read())

    for palette in PALETTES:
        assert drawn("credits", palette) == minutes.draw(used, palette), STALE


def test_the_credits_plotted_are_added_up_by_customer_and_month() -> None:
    rows: minutes.Rows = {
        "coworker_extra_services": {
            1: {"CoworkerId": 7, "ChargePeriod": 1},
            2: {"CoworkerId": 8, "ChargePeriod": 1},
            3: {"CoworkerId": 8, "ChargePeriod": 5},
        },
        "coworker_extra_service_use_histories": {
            number: {
                "CoworkerExtraServiceId": allowance,
                "BookingFromTime": booked and f"{booked}-31T23:00:00.000000Z",
                "CreatedOn": "2025-01-01T00:00:00.000000Z",
                "CreditUsed": used,
            }
            for number, (allowance, booked, used) in enumerate(
                [
                    (1, "2025-03", 60),
                    (1, "2025-03", 30),
                    (1, None, 5),
                    (2, "2025-03", 400),
                    (3, "2025-03", 1_000),
                    (9, "2025-03", 1_000),
                    (2, "2025-05", None),
                ]
            )
        },
    }

    assert minutes.minutes_used(rows) == {
        "8": {"2025-03": 400, "2025-05": 0},
        "7": {"2025-03": 90, "2025-01": 5},
    }


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    """The demo, which is a script."""
    spec = importlib.util.spec_from_file_location("demo_script", PROJECT / "demo" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.wide
def test_the_demo_is_shown_as_it_ends(
    demo: ModuleType, make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    ledger, allowances = tenant_tables(minutes.RECORDS, minutes.NUMBER_OF_ALLOWANCES)
    sandbox = make_bench(ledger=ledger, allowances=allowances).sandbox
    command = tap_command(tmp_path, sandbox)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        demo.book(sandbox.url, records_of(output_of(command, tmp_path), demo.USES))
        after = output_of(command, tmp_path)
        for stream in (demo.USES, demo.ALLOWANCES):
            file = tmp_path / f"{stream}.jsonl"
            lines = "\n".join(map(json.dumps, records_of(after, stream)))
            file.write_text(lines, encoding="utf-8")
            duckdb.sql(demo.LATEST.format(stream=stream, file=file))
        print(duckdb.sql(demo.CREDITS))  # noqa: T201

    expected = terminal.unspaced(said.getvalue())
    assert len(expected) > 20
    for palette in PALETTES:
        shown = terminal.text_of(drawn("demo", palette))
        assert [line for line in shown if line in expected] == expected, STALE
        headlines = re.findall(r'say\(f?"(.*?)["(]', (PROJECT / "demo/demo.py").read_text("utf-8"))
        assert len(headlines) > 4
        beginnings = tuple(
            line.partition("{")[0] for line in terminal.unspaced("\n".join(headlines))
        )
        for line in shown:
            assert not line.startswith("==") or line[2:].startswith(beginnings), STALE


def records_of(output: str, stream: str) -> list[dict[str, object]]:
    messages = map(json.loads, output.splitlines())
    return [m["record"] for m in messages if m["type"] == "RECORD" and m["stream"] == stream]


@pytest.mark.wide
@pytest.mark.skipif(sys.version_info < (3, 11), reason="another matplotlib draws there")
def test_the_benchs_plots_are_of_its_results(tmp_path: Path) -> None:
    results = json.loads((PROJECT / "bench" / "results.json").read_text(encoding="utf-8"))

    plots.plot(msgspec.convert(results, Results), tmp_path)

    assert len([*tmp_path.iterdir()]) == 6
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (PROJECT / "bench" / path.name).read_bytes(), STALE


BAR = re.compile(
    r"(coworker_extra_service\w+):\d+%\|[▏▎▍▌▋▊▉█]*\|\d+/\d+"
    r"\[\d\d:\d\d<[\d:?]+,[\d.?]+(?:Ids/s|s/Ids)(?:,calls=\d+,throttled=\d+)?\]"
)


@pytest.mark.wide
def test_the_bar_shown_is_what_a_terminal_gets() -> None:
    written = runs.progress(100, until="extra_services: ")
    # A slow machine may have come to what is said at the end.
    now = terminal.unspaced(terminal.screen(written))[:3]

    assert [BAR.fullmatch(line) is not None for line in now] == [False, True, True], written
    for palette in PALETTES:
        shown = terminal.text_of(drawn("progress", palette))
        assert shown[0] == now[0], STALE
        names = [match[1] for match in map(BAR.fullmatch, shown[1:]) if match is not None]
        assert names == ["coworker_extra_service_use_histories", "coworker_extra_services"], STALE


def test_what_a_terminal_shows_is_the_last_of_what_begins_anew() -> None:
    output = "one\r\n\r 10%|\r      \rtwo\r\n\r 20%|█ \r 30%|█▌"

    assert terminal.screen(output) == "one\ntwo\n 30%|█▌"
    for palette in PALETTES:
        svg = terminal.draw(output, palette, "name")
        assert terminal.text_of(svg) == ["one", "two", "30%|█▌"]
        assert svg == terminal.draw(output, palette, "name")


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_and_is_there_for_light_and_dark_pages(path: Path) -> None:
    stem = path.stem.removesuffix("-dark")

    assert path.stat().st_size < 60_000
    for palette in PALETTES:
        assert path.with_stem(f"{stem}{palette.suffix}").exists()


@pytest.mark.parametrize("path", SVGS, ids=lambda path: path.name)
def test_a_drawing_needs_nothing_from_elsewhere(path: Path) -> None:
    svg = path.read_text(encoding="utf-8")
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    metadata = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)

    assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314 - our own
    assert "@font-face" not in svg
    assert "<script" not in svg
    assert "<image" not in svg
    found = set(re.findall(r"https?://[^\s\"'<>]+", metadata.sub("", svg)))
    # What the type of a document is named by isn't fetched either.
    assert {url for url in found if not url.endswith(".dtd")} <= namespaces


def test_documents_show_pictures_that_are_there_and_say_what_is_in_them() -> None:
    shown = 0
    for document in [
        *PROJECT.glob("*.md"),
        *PROJECT.glob("docs/*.md"),
        *PROJECT.glob("bench/*.md"),
    ]:
        text = document.read_text(encoding="utf-8")
        for picture in re.findall(r"<picture>(.*?)</picture>", text, re.DOTALL):
            (dark,) = re.findall(
                r'<source media="\(prefers-color-scheme: dark\)" srcset="(.*?)">', picture
            )
            (image,) = re.findall(r"<img .*?>", picture, re.DOTALL)
            (light,) = re.findall(r'src="(.*?)"', image)
            (alternative,) = re.findall(r'alt="(.*?)"', image, re.DOTALL)
            path = (document.parent / light).resolve()
            assert path in PICTURES
            assert (document.parent / dark).resolve() == path.with_stem(f"{path.stem}-dark")
            assert len(alternative) > 30
            assert light != "pictures/way.svg" or alternative == way.ALT
            shown += 1

    assert shown > 0


def contrast(one: str, other: str) -> float:
    """By the guidelines for accessible content, 2.1; 21 at the most."""

    def luminance(colour: str) -> float:
        parts = [part / 255 for part in bytes.fromhex(colour[1:])]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@of_each_palette
def test_colours_stand_out_from_the_page(palette: Palette) -> None:
    for colour in (palette.text, palette.muted, palette.accent, palette.good):
        assert contrast(colour, palette.page) > 4.5
        assert contrast(colour, palette.box) > 4.5
    for colour in palette.series:
        assert contrast(colour, palette.page) > 2
