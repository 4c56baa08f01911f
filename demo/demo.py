"""The demo: two runs of the tap under Meltano against the sandbox, looked at with DuckDB."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

import duckdb

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
TAP, TARGET = "tap-nexudus-usage", "target-jsonl"
USES, ALLOWANCES = "coworker_extra_service_use_histories", "coworker_extra_services"
OF_A_PROJECT = ("MELTANO_", "TAP_NEXUDUS_USAGE_", "TARGET_JSONL_")
CORRECTIONS = 5
LONGEST_START = 60.0
LONGEST_COMMAND = 900.0
"""Seconds; an installation downloads."""

# The last line of an Id counts: a correction may be stamped earlier, a tombstone not at all.
LATEST = """
    CREATE VIEW {stream} AS
    SELECT * FROM (SELECT *, row_number() OVER () AS line FROM read_json_auto('{file}'))
    QUALIFY row_number() OVER (PARTITION BY Id ORDER BY line DESC) = 1
"""

CREDITS = """
    WITH used AS (
        SELECT CoworkerExtraServiceId AS Id,
               strftime(coalesce(BookingFromTime, CreatedOn)::TIMESTAMP, '%Y-%m') AS month,
               sum(CreditUsed) AS credits
        FROM coworker_extra_service_use_histories
        WHERE _sdc_deleted_at IS NULL
        GROUP BY ALL
    )
    SELECT month,
           coalesce(CoworkerId::VARCHAR, '') AS customer,
           CASE WHEN allowance.Id IS NULL THEN '(allowance gone)'
                ELSE coalesce(ExtraServiceName, '(no name)') END AS kind,
           CASE ChargePeriod WHEN 1 THEN 'minutes' WHEN 2 THEN 'days' WHEN 3 THEN 'weeks'
                             WHEN 4 THEN 'months' WHEN 5 THEN 'uses'
                             WHEN 6 THEN 'four-week months' ELSE '' END AS unit,
           sum(credits) AS used,
           sum(RemainingUses) AS "left"
    FROM used
    LEFT JOIN coworker_extra_services AS allowance USING (Id)
    GROUP BY ALL
    ORDER BY month DESC, customer, kind
    LIMIT 12
"""


def say(text: str) -> None:
    """Tell the reader what comes next."""
    print(f"\n== {text}", flush=True)


@contextlib.contextmanager
def sandbox() -> Iterator[str]:
    """A sandbox of 300 records; gives its address, and ends with the context."""
    command = [str(BIN / "nexudus-sandbox"), "--records", "300", "--stop-after", "3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not select.select([process.stdout], [], [], LONGEST_START)[0]:
                sys.exit("The sandbox doesn't start.")
            yield process.stdout.readline().split()[-1]
        finally:
            # Not asked to end: nothing would bound the wait for it.
            process.kill()


def control(url: str, method: str = "GET", fields: dict[str, Any] | None = None) -> Any:
    """Look at the sandbox, or change it."""
    body = None if fields is None else json.dumps(fields).encode()
    request = urllib.request.Request(url, body, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def meltano(*args: str, env: dict[str, str]) -> None:
    """Run Meltano; what it says is shown only if it fails."""
    command = [str(BIN / "meltano"), *args]
    finished = subprocess.run(
        command,
        cwd=env["MELTANO_PROJECT_ROOT"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LONGEST_COMMAND,
    )
    if finished.returncode:
        print(finished.stdout)
        sys.exit(f"meltano {' '.join(args)} failed")


def make_project(folder: Path, url: str) -> dict[str, str]:
    """Make a Meltano project that the demo may change; the environment variables for it."""
    definition = (PROJECT / "meltano.yml").read_text(encoding="utf-8")
    definition = definition.replace("pip_url: -e .\n", f"pip_url: -e {quote(str(PROJECT))}\n")
    (folder / "meltano.yml").write_text(definition, encoding="utf-8")
    (folder / "output").mkdir()
    # What is set for a project of the user's isn't meant for this one.
    kept = {name: text for name, text in os.environ.items() if not name.startswith(OF_A_PROJECT)}
    return {
        **kept,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "MELTANO_PROJECT_ROOT": str(folder),
        # The checkout's, so that environments needn't be made anew.
        "MELTANO_SYS_DIR_ROOT": str(PROJECT / ".meltano"),
        # Its own, so that each demo begins without a state.
        "MELTANO_DATABASE_URI": f"sqlite:///{folder / 'meltano.db'}",
        "TAP_NEXUDUS_USAGE_API_URL": url,
        "TAP_NEXUDUS_USAGE_USERNAME": "api.user@example.com",
        "TAP_NEXUDUS_USAGE_PASSWORD": "correct horse",
        "TARGET_JSONL_DESTINATION_PATH": str(folder / "output"),
    }


class Arrivals:
    """What each run brings into the files."""

    def __init__(self, folder: Path) -> None:
        """Nothing has come yet."""
        self.files = {stream: folder / f"{stream}.jsonl" for stream in (USES, ALLOWANCES)}
        self._seen = dict.fromkeys(self.files, 0)

    def new(self, stream: str) -> list[dict[str, Any]]:
        """The records of a stream that have come since it was asked for the last time."""
        lines = self.files[stream].read_text(encoding="utf-8").splitlines()
        new = lines[self._seen[stream] :]
        self._seen[stream] = len(lines)
        return [json.loads(line) for line in new]


def book(url: str, records: list[dict[str, Any]]) -> None:
    """Correct some uses, and let a customer use a credit."""
    for record in records[:: len(records) // CORRECTIONS][:CORRECTIONS]:
        credit = (record["CreditUsed"] or 0) + 1
        control(f"{url}/control/{USES}/records/{record['Id']}", "PATCH", {"CreditUsed": credit})
        print(f"Use {record['Id']} is corrected: {credit} instead of {record['CreditUsed']}")
    credits_left = control(f"{url}/control/{ALLOWANCES}/records")
    allowance = max(credits_left, key=lambda record: record["RemainingUses"] or 0)
    named = {"CoworkerExtraServiceId": allowance["Id"]}
    use = control(f"{url}/control/{USES}/records", "POST", named)
    print(f"Use {use['Id']} is new: {use['CreditUsed']} of allowance {allowance['Id']}")


def main() -> None:
    """Run the demo; everything it leaves lies in a temporary folder, which goes."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        say("Starting a sandbox: a double of the Nexudus API with 300 uses and 100 allowances")
        url = stack.enter_context(sandbox())
        print(f"It listens on {url}.")
        env = make_project(folder, url)
        arrivals = Arrivals(folder / "output")

        say(f"meltano install {TAP} {TARGET}  (each in an environment of its own)")
        meltano("install", TAP, TARGET, env=env)

        say(f"meltano select {TAP} {ALLOWANCES} '*'  (beside the ledger)")
        meltano("select", TAP, ALLOWANCES, "*", env=env)
        say(f"meltano select --exclude {TAP} {ALLOWANCES} Notes  (they may be personal)")
        meltano("select", "--exclude", TAP, ALLOWANCES, "Notes", env=env)

        say(f"meltano run {TAP} {TARGET}  (first run: everything)")
        meltano("run", TAP, TARGET, env=env)
        uses, allowances = (arrivals.new(stream) for stream in arrivals.files)
        calls = control(f"{url}/control/calls")["all"]
        print(
            f"{len(uses)} uses and {len(allowances)} allowances arrived, in {calls} calls to the "
            "API, the login included."
        )

        say("Meanwhile in Nexudus")
        book(url, uses)

        say(f"meltano run {TAP} {TARGET}  (second run: only what changed)")
        meltano("run", TAP, TARGET, env=env)
        changed, less = (arrivals.new(stream) for stream in arrivals.files)
        for record in changed:
            print(f"Use {record['Id']} arrived, CreditUsed {record['CreditUsed']}")
        for record in less:
            print(f"Allowance {record['Id']} arrived, RemainingUses {record['RemainingUses']}")
        numbers = [len(records) for records in (uses, allowances, changed, less)]
        if numbers != [300, 100, CORRECTIONS + 1, 1] or "Notes" in allowances[0]:
            sys.exit("That is not what should have arrived.")

        say("Credits used per customer, kind and month, in their unit, and what is left (DuckDB)")
        for stream, file in arrivals.files.items():
            duckdb.sql(LATEST.format(stream=stream, file=file))
        print(duckdb.sql(CREDITS))
    say("Done; the sandbox is stopped. Environments stay in .venv and .meltano")


if __name__ == "__main__":
    if shutil.which("meltano", path=str(BIN)) is None:
        sys.exit("Run `make demo`, which installs what the demo needs.")
    main()
