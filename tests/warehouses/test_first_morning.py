"""docs/first-morning.md, walked through as it stands there, with Meltano and PostgreSQL."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import postgresql
import pytest
import walkthrough
from conftest import Bench

from warehouses.environments import CHECKOUT
from warehouses.meltano import BIN, SETTINGS

pytestmark = pytest.mark.warehouse

# Found now: each test has an empty HOME.
UV_CACHE = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")

TIMEOUT = 600.0
"""Seconds for the commands of one block."""

WRITES = os.environ.get("DOCUMENTS") == "write"
"""Whether the document gets what the commands write, rather than be compared with it."""


def run(commands: str, folder: Path, env: dict[str, str]) -> str:
    """What commands write, and what they tell of themselves, in the order of writing."""
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert finished.returncode == 0 or "[critical" in finished.stdout, finished.stdout
    return walkthrough.normal(finished.stdout)


def test_what_the_first_morning_shows_is_what_happens(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make_bench(**walkthrough.tables())
    (tmp_path / "tap-nexudus-usage").symlink_to(CHECKOUT)
    document = walkthrough.DOCUMENT.read_text(encoding="utf-8")
    said: dict[str, list[str]] = defaultdict(list)

    with postgresql.serve() as server:
        of_server = {"host": "127.0.0.1", "port": str(server.port), "user": "postgres"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        env = {
            **kept,
            "PATH": os.pathsep.join([str(BIN), str(server.bin), os.environ["PATH"]]),
            "UV_CACHE_DIR": UV_CACHE,
            "TAP_NEXUDUS_USAGE_API_URL": bench.sandbox.url,
            "TARGET_POSTGRES_DATABASE": "postgres",
            **{f"TARGET_POSTGRES_{name.upper()}": value for name, value in of_server.items()},
            **{f"PG{name.upper()}": value for name, value in of_server.items()},
        }
        for step in walkthrough.steps(document):
            if step.event is not None:
                walkthrough.EVENTS[step.event](bench)
            if step.commands is not None:
                folder = tmp_path / "usage"
                output = run(step.commands, folder if folder.exists() else tmp_path, env)
                said[step.commands].append(output)

    written = walkthrough.with_outputs(document, said)
    if WRITES:
        walkthrough.DOCUMENT.write_text(written, encoding="utf-8")
    assert WRITES or written == document, "`make docs` writes what the commands really say"
