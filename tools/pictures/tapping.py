"""The tap as a process, beside a sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tap_nexudus_usage.sandbox.server import Sandbox

TIMEOUT = 120.0
"""Seconds."""


def tap_command(folder: Path, sandbox: Sandbox, **settings: Any) -> list[str]:
    """A command that reads both streams; its files are put into `folder`, where it has to run."""
    user = sandbox.world.user
    config = {
        "username": user.username,
        "password": user.password,
        "api_url": sandbox.url,
        **settings,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "tap_nexudus_usage", "--config", "config.json"]
    catalog = json.loads(output_of([*command, "--discover"], folder))
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            entry["metadata"]["selected"] = True
    (folder / "catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    return [*command, "--catalog", "catalog.json"]


def output_of(command: list[str], folder: Path) -> str:
    """What a command writes to stdout; it has to go well."""
    finished = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=TIMEOUT
    )
    return finished.stdout
