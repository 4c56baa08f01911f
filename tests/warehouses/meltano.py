"""Meltano in a project of the tests' own: plugins installed once, an environment for each test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from outcomes import Finished

from warehouses.environments import CHECKOUT

BIN = Path(sys.executable).parent
TAP = "tap-nexudus-usage"
SETTINGS = ("MELTANO", "TAP_", "TARGET_", "VIRTUAL_ENV")
"""How variables begin that would change what a project says."""
TIMEOUT = 180.0
"""Seconds for one command."""


def children(process: subprocess.Popen[str]) -> list[str]:
    """The pids of the plugins that Meltano has started."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return path.read_text(encoding="utf-8").split()


def child_of(process: subprocess.Popen[str], name: str) -> int:
    """The pid of one plugin that Meltano has started."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(process)}
    (pid,) = (pid for pid, command in commands.items() if name.encode() in command)
    return int(pid)


def at_rest(process: subprocess.Popen[str]) -> bool:
    """Whether Meltano's plugins read nothing, write nothing and compute nothing for a while."""

    def text(pid: str, name: str) -> str:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")

    def progress() -> list[tuple[str, list[str]]]:
        # Of what follows the name of the program, the 12th and 13th are user and system time.
        return [
            (text(pid, "io"), text(pid, "stat").rpartition(")")[2].split()[11:13])
            for pid in children(process)
        ]

    before = progress()
    time.sleep(0.5)
    return progress() == before


@dataclass(frozen=True)
class Project:
    """A folder with a meltano.yml, made from the checkout's.

    Attributes:
        environment: the Meltano environment that is active. The state is kept under its name.
        variables: what is added to the environment variables.
    """

    folder: Path
    environment: str = "dev"
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: Path) -> Project:
        """Make one with nothing installed, in which the tap comes from the checkout."""
        definition = definition_of(CHECKOUT)
        definition["plugins"]["extractors"][0]["pip_url"] = f"-e {CHECKOUT}"
        return cls.of(folder, definition)

    @classmethod
    def of(cls, folder: Path, definition: dict[str, Any]) -> Project:
        """Make one with this meltano.yml."""
        project = cls(folder)
        (folder / "home").mkdir()
        project._write(definition)
        return project

    def in_environment(self, name: str, **of_the_tap: Any) -> Project:
        """The same in a new Meltano environment, which says this about the tap."""
        definition = definition_of(self.folder)
        extractors = [{"name": TAP, **of_the_tap}]
        environment = {"name": name, "config": {"plugins": {"extractors": extractors}}}
        definition["environments"].append(environment)
        self._write(definition)
        return Project(self.folder, name, dict(self.variables))

    def _write(self, definition: dict[str, Any]) -> None:
        text = yaml.safe_dump(definition, sort_keys=False)
        (self.folder / "meltano.yml").write_text(text, encoding="utf-8")

    def configure(self, plugin: str, settings: Mapping[str, Any]) -> None:
        """Give a plugin its settings, as environment variables."""
        prefix = plugin.replace("-", "_").upper()
        for name, value in settings.items():
            text = value if isinstance(value, str) else json.dumps(value)
            self.variables[f"{prefix}_{name.upper()}"] = text

    @property
    def env(self) -> dict[str, str]:
        """The environment for its commands; no setting of the machine's user gets in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "HOME": str(self.folder / "home"), "PATH": path, **self.variables}

    def meltano(self, *arguments: str) -> Finished:
        """Run Meltano to the end."""
        return self._to_the_end(self._meltano(arguments))

    def run(self, *arguments: str) -> Finished:
        """Run a pipeline, which has to go well."""
        finished = self.meltano("run", *arguments)
        assert finished.code == 0, finished.stderr
        return finished

    def shell(self, script: str) -> Finished:
        """Run commands as they stand in a document, to the end."""
        return self._to_the_end(["bash", "-euo", "pipefail", "-c", script])

    def started(self, *arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start Meltano in a group of its own; the group doesn't outlive the context."""
        return self._started(self._meltano(arguments))

    def _meltano(self, arguments: Sequence[str]) -> list[str]:
        return [str(BIN / "meltano"), "--environment", self.environment, *arguments]

    def _to_the_end(self, command: Sequence[str]) -> Finished:
        with self._started(command) as process:
            stdout, stderr = process.communicate(timeout=TIMEOUT)
        return Finished(process.returncode, stdout, stderr)

    @contextmanager
    def _started(self, command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)


def definition_of(folder: Path) -> dict[str, Any]:
    """A folder's meltano.yml."""
    definition: dict[str, Any] = yaml.safe_load((folder / "meltano.yml").read_text("utf-8"))
    return definition
