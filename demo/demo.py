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
from typing import Any

import duckdb

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
STREAM = "coworker_extra_service_use_histories"
CHANGES = 5
LONGEST_START = 60.0
LONGEST_COMMAND = 900.0
"""Seconds; an installation downloads."""

CREDITS = """
    WITH lines AS (
        SELECT *, row_number() OVER () AS line FROM read_json_auto('{files}')
    ),
    -- By the order in which they came: a correction may be stamped earlier, a tombstone not at all.
    latest AS (
        SELECT * FROM lines
        QUALIFY row_number() OVER (PARTITION BY Id ORDER BY line DESC) = 1
    )
    SELECT BookingResourceName AS room,
           strftime(BookingFromTime::TIMESTAMP, '%Y-%m') AS month,
           count(*) AS uses,
           sum(CreditUsed) AS credits
    FROM latest
    WHERE BookingResourceName IS NOT NULL AND _sdc_deleted_at IS NULL
    GROUP BY room, month
    ORDER BY credits DESC
    LIMIT 8
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
        cwd=PROJECT,
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


def main() -> None:
    """Run the demo; everything it leaves lies in a temporary folder, which goes."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        say("Starting a sandbox: a double of the Nexudus API with 300 usage records")
        url = stack.enter_context(sandbox())
        ids = [record["Id"] for record in control(f"{url}/control/{STREAM}/records")]
        print(f"It listens on {url}; the tap is configured for all {len(ids)} Ids.")

        output = folder / "output"
        output.mkdir()
        env = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            # Its own, so that each demo begins without a state.
            "MELTANO_DATABASE_URI": f"sqlite:///{folder / 'meltano.db'}",
            "TAP_NEXUDUS_USAGE_API_URL": url,
            "TAP_NEXUDUS_USAGE_USERNAME": "api.user@example.com",
            "TAP_NEXUDUS_USAGE_PASSWORD": "correct horse",
            "TAP_NEXUDUS_USAGE_RECORD_IDS": json.dumps(ids),
            "TARGET_JSONL_DESTINATION_PATH": str(output),
        }
        file = output / f"{STREAM}.jsonl"

        say("meltano install tap-nexudus-usage target-jsonl  (each in an environment of its own)")
        meltano("install", "tap-nexudus-usage", "target-jsonl", env=env)

        say("meltano run tap-nexudus-usage target-jsonl  (first run: everything)")
        meltano("run", "tap-nexudus-usage", "target-jsonl", env=env)
        first = file.read_text(encoding="utf-8").splitlines()
        calls = control(f"{url}/control/calls")["all"]
        print(f"{len(first)} records arrived, in {calls} calls to the API, the login included.")

        say(f"Changing {CHANGES} records in Nexudus: their credit becomes 999")
        for record_id in ids[:: len(ids) // CHANGES][:CHANGES]:
            control(f"{url}/control/{STREAM}/records/{record_id}", "PATCH", {"CreditUsed": 999})
            print(f"Id {record_id}")

        say("meltano run tap-nexudus-usage target-jsonl  (second run: only what changed)")
        meltano("run", "tap-nexudus-usage", "target-jsonl", env=env)
        second = file.read_text(encoding="utf-8").splitlines()[len(first) :]
        print(f"{len(second)} records arrived:")
        for record in map(json.loads, second):
            print(f"Id {record['Id']}, CreditUsed {record['CreditUsed']}")
        if len(first) != len(ids) or len(second) != CHANGES:
            sys.exit("That is not what should have arrived.")

        say("Credits used per room and month, the latest version of each record (DuckDB)")
        print(duckdb.sql(CREDITS.format(files=file)))
    say("Done; the sandbox is stopped. Environments stay in .venv and .meltano")


if __name__ == "__main__":
    if shutil.which("meltano", path=str(BIN)) is None:
        sys.exit("Run `make demo`, which installs what the demo needs.")
    main()
