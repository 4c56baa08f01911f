"""The bench's command line."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.measuring import measure, measure_start_up
from bench.pace import paced
from bench.plots import plot
from bench.processes import PROJECT, BenchError
from bench.results import Results, as_json, machine
from bench.summary import update_documents
from bench.tables import contender_row, tables
from bench.workloads import ALL, DEFAULT, QUICK, Workload


def main() -> int:
    """Measure, and leave tables, JSON and plots."""
    args = _parse()
    chosen = _chosen(args)
    if not chosen:
        sys.exit(f"There is no workload {args.only}; there are {', '.join(w.name for w in ALL)}")
    # What is committed comes from a whole bench of the default only.
    is_for_all = args.into is None and chosen == DEFAULT
    into: Path = args.into or PROJECT / ("bench" if is_for_all else "output/bench")
    into.mkdir(parents=True, exist_ok=True)
    results = Results(machine(), paced=paced())
    with tempfile.TemporaryDirectory() as folder:
        try:
            _measure(results, chosen, args, Path(folder))
        except BenchError as error:
            sys.exit(str(error))
    text = tables(results)
    (into / "results.md").write_text(f"# Results of `make bench`\n\n{text}\n", encoding="utf-8")
    rounded = as_json(results)
    raw = json.dumps(rounded, indent=1)
    (into / "results.json").write_text(f"{raw}\n", encoding="utf-8")
    # What the file holds, so that it can be drawn again.
    plot(msgspec.convert(rounded, Results), into)
    if is_for_all:
        update_documents()
    print(text)
    print(f"\nTables, JSON and plots are in {into}")
    return 0


def _measure(
    results: Results, workloads: Sequence[Workload], args: argparse.Namespace, folder: Path
) -> None:
    """Fill the results, and tell of each workload as it is done."""
    # Not resolved: the link's place is what tells Python which environment it is of.
    python = str(args.python.absolute())
    results.start_up = measure_start_up(python=python, repeat=args.repeat, folder=folder)
    for workload in workloads:
        result = measure(workload, python=python, repeat=args.repeat, folder=folder)
        results.workloads.append(result)
        for runs in result.contenders:
            print("  ".join(contender_row(result, runs)), file=sys.stderr, flush=True)


def _chosen(args: argparse.Namespace) -> Sequence[Workload]:
    """The workload of the name given, those whose names begin with it, or all that are due."""
    if args.only:
        return [w for w in ALL if w.name == args.only or w.name.startswith(f"{args.only}-")]
    if args.quick:
        return QUICK
    return ALL if args.long else DEFAULT


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each contender")
    parser.add_argument(
        "--only", default="", help="the workload of this name, or those that begin with it: by-id"
    )
    parser.add_argument("--long", action="store_true", help="also what takes minutes each")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does the bench work?")
    parser.add_argument(
        "--python",
        type=Path,
        default=sys.executable,
        help="the contenders' Python, with the tap and nothing else",
    )
    parser.add_argument("--into", type=Path, help="folder for JSON and plots")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
