"""The tap beside a real target without a runner, as the README says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Bench
from documents import block

from warehouses.environments import environment

pytestmark = pytest.mark.warehouse

BIN = Path(sys.executable).parent


def loaded(folder: Path) -> list[int]:
    """The Ids in the target's files, in the order in which they came."""
    files = sorted(folder.glob("coworker_*.jsonl"))
    lines = (line for file in files for line in file.read_text("utf-8").splitlines())
    return [json.loads(line)["Id"] for line in lines]


def test_a_second_run_as_told_brings_only_what_changed(bench: Bench, tmp_path: Path) -> None:
    path = f"{BIN}{os.pathsep}{environment('jsonl')}{os.pathsep}{os.environ['PATH']}"
    login = {
        "TAP_NEXUDUS_USAGE_USERNAME": bench.world.user.username,
        "TAP_NEXUDUS_USAGE_PASSWORD": bench.world.user.password,
        "TAP_NEXUDUS_USAGE_API_URL": bench.sandbox.url,
    }

    def run() -> None:
        finished = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block("README.md", "sh", "target-jsonl")],  # noqa: S607
            cwd=tmp_path,
            env={**os.environ, "PATH": path, **login},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert finished.returncode == 0, finished.stderr

    run()
    first = loaded(tmp_path)
    (changed, *_) = bench.ledger
    bench.ledger.change(changed, CreditUsed=999)
    run()

    assert sorted(first) == sorted(bench.ledger)
    assert sorted(loaded(tmp_path)) == sorted([*first, changed])
