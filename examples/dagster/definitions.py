"""Loads the ledgers of several Nexudus accounts every morning, through Meltano, side by side.

Each account is an asset and a step in a process of its own. One that fails is tried again, and
makes the run red in the end; the others are loaded all the same.
"""

import os
import subprocess
import threading
from collections import deque

import dagster as dg

ACCOUNTS = ("lisbon", "porto")
LOADER = "target-postgres"
TABLE = "coworker_extra_service_use_histories"

LONGEST_LOAD = 12 * 3600
"""Seconds after which a load is ended, should anything in it hang."""

RETRIES = dg.RetryPolicy(
    max_retries=2,
    delay=float(os.environ.get("NEXUDUS_RETRY_SECONDS", "300")),
    backoff=dg.Backoff.EXPONENTIAL,
)


def meltano_run(account: str) -> list[str]:
    """The command that loads an account through the extractor that is its own."""
    return ["meltano", "run", "--state-id-suffix", account, f"tap-nexudus-usage-{account}", LOADER]


def ledger_of(account: str) -> dg.AssetsDefinition:
    """The asset that is an account's table."""

    @dg.asset(
        key=[f"nexudus_{account}", TABLE],
        retry_policy=RETRIES,
        group_name="nexudus",
        kinds={"meltano"},
    )
    def ledger(context: dg.AssetExecutionContext) -> None:
        """Consumed extra-service credits."""
        last_lines = deque[str](maxlen=10)
        with subprocess.Popen(
            meltano_run(account), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            timer = threading.Timer(LONGEST_LOAD, process.terminate)
            timer.start()
            try:
                for line in process.stdout:
                    context.log.info(line.rstrip())
                    last_lines.append(line)
            except BaseException:
                # Without, a run that is cancelled would wait for Meltano to end by itself.
                process.terminate()
                raise
            finally:
                timer.cancel()
        if process.returncode:
            message = f"{account} isn't loaded:\n{''.join(last_lines)}"
            raise dg.Failure(message)

    return ledger


every_account = dg.define_asset_job(
    "nexudus",
    selection=dg.AssetSelection.groups("nexudus"),
    executor_def=dg.multiprocess_executor.configured({"max_concurrent": len(ACCOUNTS)}),
)

defs = dg.Definitions(
    assets=[ledger_of(account) for account in ACCOUNTS],
    jobs=[every_account],
    schedules=[
        dg.ScheduleDefinition(
            job=every_account,
            cron_schedule="0 5 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
    ],
)
