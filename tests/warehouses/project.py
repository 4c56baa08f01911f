"""A Meltano project like a user's: this repository's extractor, and loaders from the docs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from conftest import Bench

from warehouses.environments import CHECKOUT, environment
from warehouses.warehouse import Warehouse

BIN = Path(sys.executable).parent
SCALING = (CHECKOUT / "docs" / "scaling.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The blocks of code of docs/scaling.md."""
    return re.findall(rf"```{language}\n(.*?)```", SCALING, re.DOTALL)


@dataclass
class Project:
    """A Meltano project with target-postgres."""

    folder: Path
    warehouse: Warehouse
    env: dict[str, str]

    def configure(self, extractor: str, bench: Bench) -> None:
        """Put into the environment what an extractor needs to reach its account."""
        prefix = extractor.replace("-", "_").upper()
        user = bench.world.user
        self.env |= {
            f"{prefix}_API_URL": bench.sandbox.url,
            f"{prefix}_USERNAME": user.username,
            f"{prefix}_PASSWORD": user.password,
        }

    def run(self, script: str) -> int:
        """Run commands as they stand in the docs; the exit code."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
            cwd=self.folder,
            env=self.env,
            check=False,
            timeout=180,
        ).returncode

    def log(self, name: str) -> str:
        """What a run said."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def state(self, state_id: str) -> dict[str, Any]:
        """The state that Meltano keeps under this name."""
        shown = subprocess.run(
            [BIN / "meltano", "state", "get", state_id],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        state: dict[str, Any] = json.loads(shown.stdout)
        return state


def make(folder: Path, warehouse: Warehouse) -> Project:
    """Write meltano.yml, with plugins that are installed already."""
    definition = yaml.safe_load((CHECKOUT / "meltano.yml").read_text(encoding="utf-8"))
    (extractor,) = definition["plugins"]["extractors"]
    del extractor["pip_url"]
    extractor["executable"] = str(BIN / "tap-nexudus-usage")
    config = json.loads(Path(warehouse.target[-1]).read_text(encoding="utf-8"))
    loader = {
        "name": "target-postgres",
        "namespace": "target_postgres",
        "executable": str(environment("postgres") / "target-postgres"),
        "settings": [{"name": name, "kind": kind_of(value)} for name, value in config.items()],
        "config": config,
    }
    for text in blocks("yaml"):
        block = yaml.safe_load(text)
        definition["plugins"]["extractors"] += block["extractors"]
        for entry in block.get("loaders", ()):
            assert entry["name"] == loader["name"]
            config |= entry["config"]
    definition["plugins"]["loaders"] = [loader]
    (folder / "meltano.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    env = {**warehouse.environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    project = Project(folder, warehouse, env)
    assert project.run("meltano install > install.log 2>&1") == 0, project.log("install")
    return project


def kind_of(value: object) -> str:
    """Meltano's name for a value's type."""
    return "integer" if isinstance(value, int) else "string"
