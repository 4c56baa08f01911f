"""The few figures that most look for, in documents that mark where they go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.processes import PROJECT

RESULTS = PROJECT / "bench" / "results.json"
BEGIN = "<!-- begin of what `python -m bench.summary` writes -->"
END = "<!-- end of what `python -m bench.summary` writes -->"

SHOWN: Mapping[str, str] = {
    "by-id-20000": "20,000 records by Id",
    "rerun-by-id-20000-unchanged": "the same again, with nothing new",
    "search-50000": "50,000 records by search",
    "rerun-search-50000-unchanged": "the same again, with nothing new",
    "both-by-id-20000": "20,000 records by Id, and the allowances they name",
    "paced-by-id-20000": "20,000 records by Id, under the published limits",
    "paced-tls-80ms-by-id-20000": "the same over TLS, each answer after 80 ms",
    "paced-search-50000": "50,000 records by search, under the published limits",
}
"""Workloads, in the words of whoever doesn't know the bench."""

HEAD = (
    "the tap reads",
    "share of the limit",
    "calls",
    "wall (s)",
    "CPU (s)",
    "peak (MiB)",
    "CPU / bare script's",
)


def summary(results: Mapping[str, Any]) -> str:
    """The table, of what `results.json` holds."""
    workloads = {workload["name"]: workload for workload in results["workloads"]}
    lines = [HEAD, ["---"] * len(HEAD)]
    lines += [_row(words, workloads[name]) for name, words in SHOWN.items() if name in workloads]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(words: str, workload: Mapping[str, Any]) -> list[str]:
    (tap,) = (runs for runs in workload["contenders"] if runs["name"] == "tap")
    median = tap["median"]
    share = median.get("limit_share")
    return [
        words,
        f"{share:.0%}" if share else "—",
        f"{median['calls']:,.0f}",
        f"{median['wall']:.1f}",
        f"{median['cpu']:.1f}",
        f"{median['peak']:.0f}",
        f"{tap['ratios']['cpu']:.1f}",
    ]


def documents() -> list[Path]:
    """Those that mark a place."""
    found = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
    return [file for file in found if BEGIN in file.read_text(encoding="utf-8")]


def updated(text: str, table: str) -> str:
    """A document's text with the table at the place marked."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        message = f"{BEGIN} has no {END}"
        raise ValueError(message)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def update_documents() -> None:
    """Write the table of the results that are committed into all of them."""
    table = summary(json.loads(RESULTS.read_text(encoding="utf-8")))
    for file in documents():
        file.write_text(updated(file.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    update_documents()
