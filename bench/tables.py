"""The results as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.pace import LATENCIES, Paced
from bench.results import Result, Results, Runs

HEAD = (
    "workload",
    "contender",
    "share of the limit",
    "wall (s)",
    "CPU (s)",
    "peak (MiB)",
    "calls",
    "throttled",
    "connections",
    "STATE (bytes)",
    "last STATE",
    "wall / floor",
    "CPU / floor",
)
SANDBOX_HEAD = ("workload", "calls / s", "records / s", "share of floor's wall")
PER_RECORD_HEAD = ("Ids", "µs a record", "µs a record, start-up left out")
PACE_HEAD = ("workload", "contender", "calls", "first to last (s)", "least (s)", "share")
SIMULATED_HEAD = (
    "servers count",
    "what varies",
    "reading",
    *(f"{1_000 * latency:.0f} ms" for latency in LATENCIES),
)
START_UP_HEAD = ("command", "wall (s)", "CPU (s)", "peak (MiB)")

NOTES = """\
Medians of whole processes, which ran in turns; the output of each was compared with the sandbox's
records, one by one. both: the ledger and the allowances, by Id those that the ledger names, all of
which exist. airbyte: source-nexudus-usage, which reads the same. floor: a bare script with requests
and json. by-the-book: the SDK's RESTStream, a partition and a "get one" for each Id; Nexudus's 409,
which by default ends such a tap, is among its extra_retry_statuses, and Retry-After waited for.
Share of the limit: of the wall time, start-up included, what Nexudus's published limits (a call
each 100 ms, 120 a minute, 5,000 an hour) would take for as many calls, were there nothing else.
Connections: opened in all, over TLS where the name says so, as Nexudus is read, else over HTTP.
STATE (bytes): of all STATE lines together; last STATE: of the last line."""

PACE_NOTE = """\
Under the throttle, the API's seconds between the first call and the last, as the sandbox saw them,
beside the least in which the published limits let so many through:"""

SIMULATED_NOTE = """\
The same in virtual time, against servers that count in several ways, at several latencies, each
answer up to half of it sooner or later: the share of what they and the published limits allow, and
the share of calls throttled. sliding: any window; fixed: windows of the clock; bucket: tokens;
spacing: since the call before, refused ones included; ticks: by a clock of 64 ticks a second; even:
120 a minute as one each half second. What varies is the server's work, done after it has counted;
or the way there, on which calls overtake each other: then no pace is both close and unthrottled."""

SANDBOX_NOTE = "The sandbox alone, read over one connection by a client that throws all away:"

PER_RECORD_NOTE = "The tap's wall time for each record, by Id (start-up: `tap --discover`):"


def tables(results: Results) -> str:
    """All tables, with what they are about."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    contenders = [contender_row(r, runs) for r in results.workloads for runs in r.contenders]
    sandbox = [sandbox_row(result) for result in results.workloads if result.sandbox]
    start_up = [start_up_row(runs) for runs in results.start_up]
    parts = [machine, NOTES, _table(HEAD, contenders)]
    pace = [pace_row(r, runs) for r in results.workloads for runs in r.contenders if runs.is_paced]
    if pace:
        parts += [PACE_NOTE, _table(PACE_HEAD, pace)]
    if results.paced:
        parts += [SIMULATED_NOTE, _table(SIMULATED_HEAD, [*map(simulated_row, results.paced)])]
    if sandbox:
        parts += [SANDBOX_NOTE, _table(SANDBOX_HEAD, sandbox)]
    per_record = per_record_rows(results)
    if per_record:
        parts += [PER_RECORD_NOTE, _table(PER_RECORD_HEAD, per_record)]
    return "\n\n".join([*parts, "Start-up:", _table(START_UP_HEAD, start_up)])


def contender_row(result: Result, runs: Runs) -> list[str]:
    """A contender in a workload."""
    if not runs.samples:
        return [result.name, f"{runs.name}: {runs.why_none}", *["—"] * (len(HEAD) - 2)]
    median = runs.median
    counts = (
        median.calls,
        median.throttled,
        median.connections,
        median.state,
        median.last_state,
    )
    return [
        result.name,
        runs.name,
        f"{median.limit_share:.0%}" if runs.is_paced else "—",
        f"{median.wall:.2f}",
        f"{median.cpu:.2f}",
        f"{median.peak:.0f}",
        *(f"{value:,.0f}" for value in counts),
        *(f"{runs.ratios[name]:.2f}" for name in ("wall", "cpu")),
    ]


def pace_row(result: Result, runs: Runs) -> list[str]:
    """How a contender's calls followed each other."""
    median = runs.median
    calls = median.calls - median.throttled
    seconds = (f"{value:.1f}" for value in (median.pace, median.least_pace))
    return [
        result.name,
        runs.name,
        f"{calls:,.0f}",
        *seconds,
        f"{median.least_pace / median.pace:.0%}",
    ]


def simulated_row(paced: Paced) -> list[str]:
    """What the pace reaches against one way of counting, by latency."""
    shares = zip(paced.shares, paced.throttled, strict=True)
    cells = (f"{share:.0%}, {throttled:.1%}" for share, throttled in shares)
    return [paced.counting, paced.jitters, paced.reading, *cells]


def sandbox_row(result: Result) -> list[str]:
    """What the sandbox can serve of a workload."""
    alone = result.sandbox
    if alone is None:
        return [result.name]
    rates = (f"{rate:,.0f}" for rate in (alone.calls_per_second, alone.records_per_second))
    return [result.name, *rates, f"{alone.share_of_floor:.0%}"]


def per_record_rows(results: Results) -> list[list[str]]:
    """Whether the tap's time grows with the Ids, or faster: a row for each number of them."""
    discovery = next(runs for runs in results.start_up if runs.name.endswith("--discover"))
    rows = []
    for result in results.workloads:
        (tap,) = (runs for runs in result.contenders if runs.name == "tap")
        if result.name.startswith("by-id"):
            wall = tap.median.wall
            seconds = (wall, wall - discovery.median.wall)
            each = (f"{1e6 * total / result.records:.0f}" for total in seconds)
            rows.append([f"{result.records:,}", *each])
    return rows


def start_up_row(runs: Runs) -> list[str]:
    """A command that reads nothing."""
    median = runs.median
    return [f"`{runs.name}`", f"{median.wall:.2f}", f"{median.cpu:.2f}", f"{median.peak:.0f}"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
