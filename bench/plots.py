"""The plots, for light pages and for dark ones; `python -m bench.plots` draws them again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bench.allowance import STEP
from bench.pace import LATENCIES, Paced
from bench.results import Result, Results, Runs
from bench.workloads import CONTENDERS
from tools.pictures.palette import PALETTES
from tools.pictures.plotting import colour

READING = "20,000 by Id"

STYLES = dict(zip(CONTENDERS, ("C0", "C2", "C7", "C3"), strict=True))


def plot(results: Results, folder: Path) -> None:
    """Draw what the results allow, into a folder."""
    by_id = [result for result in results.workloads if result.name.startswith("by-id")]
    throttled = [result for result in results.workloads if _has_allowance(result)]
    if by_id:
        plot_time_over_ids(by_id, folder / "time_over_ids.png")
    if throttled:
        longest = max(throttled, key=lambda result: len(result.contenders[0].allowance))
        plot_allowance(longest, folder / "allowance.png")
    if results.paced:
        ways = [paced for paced in results.paced if paced.reading == READING]
        plot_pace(ways, folder / "pace.png")


def plot_time_over_ids(results: Sequence[Result], file: Path) -> None:
    """Seconds of each contender over the number of Ids."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in CONTENDERS:
        points = [
            (result.records, runs.median.wall)
            for result in results
            for runs in result.contenders
            if runs.name == name and runs.samples
        ]
        if points:
            axes.loglog(*zip(*points, strict=True), "o-", color=STYLES[name], label=name)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(title="Time to read by Id, unthrottled", xlabel="Ids", ylabel="wall time (s)")
    _save(figure, file)


def plot_allowance(result: Result, file: Path) -> None:
    """Share of the throttle's allowance that each contender used, over time."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for runs in filter(_has_used, result.contenders):
        minutes = [STEP / 60 * step for step in range(len(runs.allowance))]
        shares = [100 * share for share in runs.allowance]
        axes.plot(minutes, shares, color=STYLES[runs.name], label=runs.name)  # type: ignore[index]
    axes.axhline(100, color="0.5", linewidth=0.8, linestyle=":", label="allowed")
    axes.set(
        title=f"Use of the throttle's allowance, {result.records:,} Ids one by one",
        xlabel="time (minutes of the API)",
        ylabel="calls let through in the last minute, % of 120",
        ylim=(0, 110),
    )
    _save(figure, file)


def plot_pace(ways: Sequence[Paced], file: Path) -> None:
    """Share of what is possible that the pace reaches, for each way to count, over latencies."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(ways)
    for number, way in enumerate(ways):
        at = [place + width * (number - (len(ways) - 1) / 2) for place in range(len(LATENCIES))]
        label = way.counting if way.jitters == "work" else f"{way.counting}, overtaking"
        axes.bar(at, [100 * share for share in way.shares], width, label=label)
    axes.axhline(95, color="0.5", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(LATENCIES)), [f"{1_000 * latency:.0f} ms" for latency in LATENCIES])
    axes.set(
        title=f"The pace against ways to count, {READING}, in virtual time",
        xlabel="latency, up to half of it more or less",
        ylabel="% of what is allowed",
        ylim=(0, 145),
    )
    _save(figure, file, columns=3)


def _has_allowance(result: Result) -> bool:
    return result.name.endswith("one-by-one") and any(map(_has_used, result.contenders))


def _has_used(runs: Runs) -> bool:
    return bool(runs.allowance)


def _save(figure: Figure, file: Path, columns: int = 1) -> None:
    (axes,) = figure.axes
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="best", ncols=columns)
    FigureCanvasAgg(figure)
    for palette in PALETTES:
        colour(figure, palette)
        # Without the version of what drew it, which would make another file of the same plot.
        figure.savefig(
            file.with_stem(f"{file.stem}{palette.suffix}"), dpi=110, metadata={"Software": None}
        )


if __name__ == "__main__":
    FOLDER = Path(__file__).parent
    RESULTS = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    plot(msgspec.convert(RESULTS, Results), FOLDER)
