"""The example for Dagster, run by Dagster's own command in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import Bench
from documents import block
from outcomes import STREAM

from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.records import Ledger
from tap_nexudus_usage.sandbox.tokens import User
from warehouses import engines
from warehouses.environments import CHECKOUT, environment
from warehouses.meltano import TAP, Project
from warehouses.scaling import make_project
from warehouses.warehouse import Warehouse

pytestmark = pytest.mark.warehouse

EXAMPLE = CHECKOUT / "examples" / "dagster"
COMMAND = block("examples/dagster/README.md", "sh", "dg launch")


@dataclass
class Dagster:
    """The example, beside a project of Meltano's."""

    meltano: Project
    warehouse: Warehouse
    accounts: dict[str, Bench]

    def run(self) -> tuple[int, str]:
        """Run the job as the example's README says; the exit code, and what was said."""
        home = self.meltano.folder / "dagster"
        home.mkdir(exist_ok=True)
        env = self.meltano.env
        path = f"{environment('dagster')}{os.pathsep}{env['PATH']}"
        finished = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", COMMAND],  # noqa: S607
            cwd=EXAMPLE,
            env={
                **env,
                "PATH": path,
                "DAGSTER_HOME": str(home),
                "DAGSTER_DISABLE_TELEMETRY": "yes",
                "MELTANO_PROJECT_ROOT": str(self.meltano.folder),
                "NEXUDUS_RETRY_SECONDS": "0.1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        return finished.returncode, finished.stdout

    def ids(self, account: str) -> list[int]:
        """The Ids in an account's table."""
        table = replace(self.warehouse, table=f"nexudus_{account}.{STREAM}")
        return sorted(row["Id"] for row in table.rows())


@pytest.fixture
def dagster(make_bench: Callable[..., Bench], tmp_path: Path) -> Iterator[Dagster]:
    with engines.postgres(tmp_path) as warehouse:
        meltano = make_project(tmp_path, warehouse)
        accounts = {}
        for seed, account in enumerate(("lisbon", "porto"), 1):
            user = User(f"{account}@example.com", f"the password of {account}")
            accounts[account] = make_bench(ledger=Ledger(20 * seed, seed), user=user)
            login = accounts[account].settings(record_ids=None, requests_per_minute=None)
            meltano.configure(f"{TAP}-{account}", login)
        yield Dagster(meltano, warehouse, accounts)


def test_accounts_are_loaded_at_once_and_a_login_that_fails_is_tried_again(
    dagster: Dagster,
) -> None:
    lisbon, porto = (bench.world for bench in dagster.accounts.values())
    lisbon.faults.append(Fault(kind="hang", endpoints=["search"], seconds=15.0))
    porto.faults.append(Fault(endpoints=["token"], status=400))

    code, output = dagster.run()

    assert code == 0, output
    assert "Login failed" in output
    for account, bench in dagster.accounts.items():
        assert dagster.ids(account) == sorted(bench.ledger)
    # By when calls are answered: one of them waited while the other was loaded.
    spans = [(world.calls[0].time, world.calls[-1].time) for world in (lisbon, porto)]
    assert max(start for start, _ in spans) < min(end for _, end in spans)


def test_an_account_that_fails_makes_the_run_red_and_the_other_one_is_loaded(
    dagster: Dagster,
) -> None:
    dagster.meltano.configure(f"{TAP}-lisbon", {"password": "mistyped"})

    code, output = dagster.run()

    assert code == 1
    assert "lisbon isn't loaded" in output
    assert "porto isn't loaded" not in output
    logins = [call for call in dagster.accounts["lisbon"].world.calls if call.endpoint == "token"]
    assert len(logins) == 3
    assert dagster.ids("porto") == sorted(dagster.accounts["porto"].ledger)


def test_the_example_is_typed() -> None:
    python = environment("dagster") / "python"
    subprocess.run(
        [
            Path(sys.executable).parent / "mypy",
            "--strict",
            f"--python-executable={python}",
            "--follow-imports=silent",
            EXAMPLE / "definitions.py",
        ],
        cwd=CHECKOUT,
        check=True,
        timeout=300,
    )
