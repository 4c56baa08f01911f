"""Minutes of credit used per customer and month, of the demo's records as the tap brings them."""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World
from tools.pictures.palette import Palette
from tools.pictures.plotting import colour
from tools.pictures.tapping import output_of, tap_command

RECORDS, NUMBER_OF_ALLOWANCES = 300, 100
"""As the demo has them."""

MINUTES = 1
"""The charge period."""

SHOWN = 5
"""Customers with a colour of their own."""

Rows = dict[str, dict[int, dict[str, Any]]]
Used = dict[str, Counter[str]]
"""Minutes by customer and month."""

SETTINGS: Any = {
    # Text stays text, in the reader's font.
    "svg.fonttype": "none",
    "svg.hashsalt": "tap-nexudus-usage",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
}


def read() -> Rows:
    """What a run of the tap brings of both streams, by stream and Id."""
    ledger, allowances = tenant_tables(RECORDS, NUMBER_OF_ALLOWANCES)
    world = World(ledger, {ALLOWANCES: allowances})
    with tempfile.TemporaryDirectory() as name, Sandbox(world) as sandbox:
        folder = Path(name)
        lines = output_of(tap_command(folder, sandbox), folder).splitlines()
    rows: Rows = {entity.stream: {} for entity in ENTITIES}
    for message in map(json.loads, lines):
        if message["type"] == "RECORD":
            rows[message["stream"]][message["record"]["Id"]] = message["record"]
    return rows


def minutes_used(rows: Rows) -> Used:
    """What was used of credits that are counted in minutes; those who used most come first."""
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for use in rows[LEDGER.stream].values():
        allowance = rows[ALLOWANCES.stream].get(use["CoworkerExtraServiceId"])
        if allowance is not None and allowance["ChargePeriod"] == MINUTES:
            month = (use["BookingFromTime"] or use["CreatedOn"])[:7]
            used[str(allowance["CoworkerId"])][month] += use["CreditUsed"] or 0
    ordered = sorted(used, key=lambda customer: (-used[customer].total(), customer))
    shown = {customer: used[customer] for customer in ordered[:SHOWN]}
    rest = sum((used[customer] for customer in ordered[SHOWN:]), Counter[str]())
    return {**shown, "all others": rest} if rest else shown


def draw(used: Mapping[str, Mapping[str, int]], palette: Palette) -> str:
    """The plot as SVG, the same bytes for the same figures."""
    with mpl.rc_context(SETTINGS):
        months = _months(sorted({month for by_month in used.values() for month in by_month}))
        figure = Figure(figsize=(8.3, 3.6), layout="constrained")
        axes = figure.subplots()
        below = [0] * len(months)
        colours = [*palette.series[: len(used) - 1], palette.series[-1]]
        for (customer, by_month), series in zip(used.items(), colours, strict=True):
            heights = [by_month.get(month, 0) for month in months]
            axes.bar(months, heights, bottom=below, color=series, width=0.75, label=customer)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        axes.set(
            title="Minutes of credit used per month, by customer",
            ylabel="minutes",
            xticks=months[::3],
            ylim=(0, 1.08 * max(below)),
        )
        axes.set_axisbelow(True)
        axes.legend(title="CoworkerId", fontsize="small", title_fontsize="small")
        axes.grid(axis="y", alpha=0.5)
        colour(figure, palette)
        axes.grid(visible=False, axis="x")
        FigureCanvasSVG(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _months(found: list[str]) -> list[str]:
    """All from the first to the last, those without a use among them."""
    first, last = ((int(m[:4]) * 12 + int(m[5:]) - 1) for m in (found[0], found[-1]))
    return [f"{number // 12}-{number % 12 + 1:02}" for number in range(first, last + 1)]
