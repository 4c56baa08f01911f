"""What docs/first-morning.md shows of the tap's own lines is what the tap writes.

`make test-warehouses` walks through the whole of it; here it is the tap without Meltano.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import walkthrough
from conftest import Bench, run_tap_with
from documents import block
from outcomes import Finished, catalog_of

from tap_nexudus_usage.nexudus.entities import ENTITIES, LEDGER
from tap_nexudus_usage.run import findings
from tap_nexudus_usage.sandbox.cli import main as sandbox
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.records import Table

DOCUMENT = walkthrough.DOCUMENT.read_text(encoding="utf-8")
STREAMS = [entity.stream for entity in ENTITIES]
LOGGED = re.compile(r"^(?:\S+ \S+ \| )?\[?(info|critical) *[\]|] *\S+ +(?:\| )?(.*)", re.IGNORECASE)


def told(output: str) -> list[tuple[str, str]]:
    """Level and text of the lines that a test or a run ends with, of the tap's log or Meltano's."""
    found = [LOGGED.match(line) for line in walkthrough.normal(output).splitlines()]
    lines = [(match[1].lower(), match[2]) for match in found if match is not None]
    names = re.compile(r"[A-Z][\w ]+?(?: of \w+)?: |.* records emitted, ")
    return [(level, text) for level, text in lines if level == "critical" or names.match(text)]


# Not every machine has it.
CURL = f"""curl() {{
    {sys.executable} - "$@" <<'PYTHON'
import argparse, urllib.request
parser = argparse.ArgumentParser()
parser.add_argument("-X")
parser.add_argument("-d", type=str.encode)
parser.add_argument("url")
args = parser.parse_args()
request = urllib.request.Request(args.url, args.d, method=args.X)
urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(request, timeout=30)
PYTHON
}}
"""


class Tap:
    """The tap as Meltano runs it, with both streams selected and the state kept."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._method = "INCREMENTAL"
        self._password = bench.world.user.password
        Path("state.json").write_text("{}", encoding="utf-8")

    def do(self, commands: str) -> str | None:
        """What the tap says at these commands of the document; None where it isn't run."""
        if "replication-method FULL_TABLE" in commands:
            self._method = "FULL_TABLE"
        if match := re.search(r'PASSWORD=\.\*/\w+="([^"]+)"', commands):
            self._password = match[1]
        if " --test " in commands:
            return self._run("--test").stderr
        if "meltano run " not in commands:
            return None
        finished = self._run("--state", "state.json")
        states = [
            line for line in finished.stdout.splitlines() if line.startswith('{"type":"STATE"')
        ]
        if states:
            Path("state.json").write_text(json.dumps(json.loads(states[-1])["value"]), "utf-8")
        return finished.stderr

    def _run(self, *arguments: str) -> Finished:
        catalog = catalog_of(*STREAMS, method=self._method)
        Path("catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
        full = self._method == "FULL_TABLE"
        settings = {"password": self._password, "emit_activate_version_messages": full}
        config = self._bench.settings(record_ids=None, requests_per_minute=None, **settings)
        return run_tap_with(config, "--catalog", "catalog.json", *arguments)


def test_what_the_tap_says_on_the_first_morning_is_what_is_shown(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(**walkthrough.tables())
    tap = Tap(bench)
    compared = 0

    for step in walkthrough.steps(DOCUMENT):
        if step.event is not None:
            walkthrough.EVENTS[step.event](bench)
        output = step.commands and tap.do(step.commands)
        if output:
            assert step.said is not None
            shown = told(step.said)
            assert told(output)[-len(shown) :] == shown, "`make docs` writes what it says now"
            compared += len(shown)

    assert compared > 30


def test_each_line_of_the_test_of_the_connection_is_explained() -> None:
    section = DOCUMENT.partition("\n## 3. ")[2].partition("\n## 4. ")[0]
    explained = set(re.findall(r"`([A-Z][\w ]+)`", section))
    shown = {
        text.partition(":")[0].partition(" of ")[0]
        for step in walkthrough.steps(section)
        for level, text in told(step.said or "")
        if level == "info"
    }

    assert len(shown) > 10
    assert explained >= shown


def test_the_cost_of_a_first_load_is_what_the_test_of_the_connection_would_say() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| (about .*) \|$", DOCUMENT, re.MULTILINE)

    assert len(rows) == 3
    for uses, allowances, cost in rows:
        records = [int(number.replace(",", "")) for number in (uses, allowances)]
        calls = 1 + sum(-(-number // 1_000) + 1 for number in records)
        assert findings.of_first_run(calls, 0, 120) == f"First run: {cost}"


def test_the_roles_are_all_that_are_needed() -> None:
    section = DOCUMENT.partition("\n## 1. ")[2].partition("\n## 2. ")[0]

    roles = set(re.findall(r"^\| `(\w+-\w+)` \|", section, re.MULTILINE))
    assert roles == {role for e in ENTITIES for role in (e.read_role, e.list_role)}


def test_the_sandbox_told_is_the_one_walked_through() -> None:
    command = block("docs/first-morning.md", "text", "nexudus-sandbox").replace("\\\n", " ")
    (line,) = (line for line in command.splitlines() if "nexudus-sandbox" in line)
    options = sandbox.make_context("nexudus-sandbox", shlex.split(line)[1:]).params
    tables = tenant_tables(options["records"], options["allowances"], options["seed"])

    for told_table, walked in zip(tables, walkthrough.tables().values(), strict=True):
        assert [*map(told_table.json, told_table)] == [*map(walked.json, walked)]
    assert set(options["roles"]) == {LEDGER.read_role, LEDGER.list_role}


def test_what_happens_between_the_steps_is_what_is_told(make_bench: Callable[..., Bench]) -> None:
    walked, told_of = (make_bench(**walkthrough.tables()) for _ in range(2))
    walkthrough.EVENTS["three uses are corrected and two are new"](walked)
    walkthrough.EVENTS["two uses are deleted"](walked)

    commands = block("docs/first-morning.md", "text", "curl")
    script = commands.replace("http://127.0.0.1:8765", told_of.sandbox.url)
    subprocess.run(["sh", "-euc", CURL + script], check=True, timeout=60)  # noqa: S607

    assert contents(told_of.ledger) == contents(walked.ledger)
    assert contents(told_of.allowances) == contents(walked.allowances)


def contents(table: Table) -> list[dict[str, Any]]:
    """The records, without what differs from one to the next that is made in the same way."""
    records = (table.get(record_id) or {} for record_id in table)
    chance = {"Id", "UniqueId", "UpdatedOn", "CreatedOn", "ToStringText", "IsNew"}
    return [{k: v for k, v in record.items() if k not in chance} for record in records]
