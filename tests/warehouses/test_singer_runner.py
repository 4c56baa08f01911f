"""The tap beside a real target without a runner, as the README says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Bench
from documents import block

from tap_nexudus_usage.nexudus.entities import ENTITIES
from warehouses.environments import environment

pytestmark = pytest.mark.warehouse

BIN = Path(sys.executable).parent


def loaded(folder: Path) -> list[int]:
    """The Ids in the target's files, in the order in which they came."""
    files = sorted(folder.glob("coworker_*.jsonl"))
    lines = (line for file in files for line in file.read_text("utf-8").splitlines())
    return [json.loads(line)["Id"] for line in lines]


@pytest.fixture
def environ(bench: Bench) -> dict[str, str]:
    """Both programs on the path, and the login."""
    path = f"{BIN}{os.pathsep}{environment('jsonl')}{os.pathsep}{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "TAP_NEXUDUS_USAGE_USERNAME": bench.world.user.username,
        "TAP_NEXUDUS_USAGE_PASSWORD": bench.world.user.password,
        "TAP_NEXUDUS_USAGE_API_URL": bench.sandbox.url,
    }


def run(script: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],  # noqa: S607
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_second_run_as_told_brings_only_what_changed(
    bench: Bench, environ: dict[str, str], tmp_path: Path
) -> None:
    script = block("README.md", "sh", "target-jsonl")

    assert run(script, tmp_path, environ).returncode == 0
    first = loaded(tmp_path)
    (changed, *_) = bench.ledger
    bench.ledger.change(changed, CreditUsed=999)
    assert run(script, tmp_path, environ).returncode == 0

    assert sorted(first) == sorted(bench.ledger)
    assert sorted(loaded(tmp_path)) == sorted([*first, changed])


def test_a_failed_run_as_told_ends_with_1(environ: dict[str, str], tmp_path: Path) -> None:
    wrong = {**environ, "TAP_NEXUDUS_USAGE_PASSWORD": "wrong"}

    finished = run(block("README.md", "sh", "target-jsonl"), tmp_path, wrong)

    assert finished.returncode == 1
    assert "Login failed" in finished.stderr


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq isn't there")
def test_a_catalog_as_told_selects_both_streams(environ: dict[str, str], tmp_path: Path) -> None:
    finished = run(block("docs/settings.md", "sh", "jq "), tmp_path, environ)

    assert finished.returncode == 0, finished.stderr
    catalog = json.loads((tmp_path / "catalog.json").read_text(encoding="utf-8"))
    selected = {
        (stream["stream"], *entry["breadcrumb"][1:]): entry["metadata"].get("selected")
        for stream in catalog["streams"]
        for entry in stream["metadata"]
    }
    assert all(selected[entity.stream,] is True for entity in ENTITIES)
    left_out = {(key[0], key[1]) for key, is_selected in selected.items() if is_selected is False}
    assert left_out == {(e.stream, name) for e in ENTITIES for name in e.personal_fields}
