"""PyAirbyte, in a process that does one thing after the other: importing it takes many seconds."""

from __future__ import annotations

import json
import os
import select
import subprocess
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from outcomes import STREAM
from typing_extensions import Self
from warehouses.environments import environment

from airbyte.clients.command import ENVIRONMENTS, SCRIPTS, executable
from airbyte.conversation import Source
from tap_nexudus_usage.nexudus.entities import ALLOWANCES

BOTH = (STREAM, ALLOWANCES.stream)

PYTHONS = ("3.11", "3.12", "3.10")
"""Those that PyAirbyte runs on, best tried first."""

LONGEST_ANSWER = 240.0
"""Seconds; importing comes before the first."""


@dataclass(frozen=True)
class Answer:
    """What came of an order.

    Attributes:
        error: the name of the exception raised, if any, and `told` its text.
        printed: what PyAirbyte wrote into the terminal meanwhile.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    processed: int = 0
    seconds: float = 0.0
    error: str | None = None
    told: str = ""
    printed: str = ""


class PyAirbyte:
    """The process, for as long as the context is entered."""

    def __init__(self, folder: Path) -> None:
        """Keep home, logs and temporary files in `folder`."""
        self._folder = folder
        self._printed = folder / "printed.log"
        self.logs = folder / "logs"
        self._bin = environment("pyairbyte", PYTHONS, ENVIRONMENTS)
        self.python = self._bin / "python"
        self.variables = {
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "PATH": f"{self._bin}:/usr/bin:/bin",
            "NO_PROXY": "127.0.0.1",
            "AIRBYTE_LOGGING_ROOT": str(self.logs),
            # It looks up a registry otherwise, and tells of its use.
            "AIRBYTE_OFFLINE_MODE": "1",
            "DO_NOT_TRACK": "1",
        }

    def __enter__(self) -> Self:
        for name in ("home", "tmp"):
            (self._folder / name).mkdir()
        script = SCRIPTS / "read_with_pyairbyte.py"
        with self._printed.open("wb") as printed:
            self._process = subprocess.Popen(
                [self.python, script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                text=True,
                encoding="utf-8",
                cwd=self._folder,
                env=self.variables,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)

    def order(self, **order: Any) -> None:
        """Have something done; `answer` has to follow."""
        self._begin = self._printed.stat().st_size
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Answer:
        """What came of the order, once it is carried out."""
        stdout = self._process.stdout
        assert stdout is not None
        # An answer is a single line, and the only one.
        ready, _, _ = select.select([stdout], [], [], LONGEST_ANSWER)
        line = stdout.readline() if ready else ""
        printed = self._printed.read_bytes()[self._begin :].decode(errors="replace")
        assert line, printed[-5_000:]
        return Answer(printed=printed, **json.loads(line, object_hook=_decimals))

    @property
    def log(self) -> str:
        """All that it has logged so far."""
        return "".join(
            path.read_text(encoding="utf-8", errors="replace") for path in self.logs.rglob("*.log")
        )


def _decimals(given: dict[str, Any]) -> Any:
    return Decimal(given["decimal"]) if given.keys() == {"decimal"} else given


class Connection:
    """A source, and a cache that it is read into."""

    def __init__(
        self, client: PyAirbyte, source: Source, folder: Path, cache: str = "cache.duckdb"
    ) -> None:
        """Keep the cache, a file of that name, in `folder`, beside the source's command."""
        self._client = client
        self._source = source
        self._folder = folder
        self._executable = executable(folder)
        self._cache = cache

    def check(self, **settings: Any) -> Answer:
        """Test the connection."""
        self.order("check", **settings)
        return self._client.answer()

    def read(self, *, options: dict[str, Any] | None = None, **settings: Any) -> Answer:
        """Read both streams into the cache."""
        self.start(options=options, **settings)
        return self._client.answer()

    def start(self, *, options: dict[str, Any] | None = None, **settings: Any) -> None:
        """Begin to read; `end` has to follow."""
        self.order("read", {"options": options or {}}, **settings)

    def end(self) -> Answer:
        """What came of a reading that was begun."""
        return self._client.answer()

    def kill(self, signum: int) -> None:
        """Send the source a signal."""
        os.kill(int((self._folder / "pid").read_text(encoding="utf-8")), signum)

    @property
    def is_running(self) -> bool:
        """Whether the source still runs."""
        try:
            self.kill(0)
        except ProcessLookupError:
            return False
        return True

    def some(self, stream: str, limit: int, *, pause: float = 0.0, **settings: Any) -> Answer:
        """The first records of a stream; the source is let go of after a pause."""
        self.order("some", {"table": stream, "limit": limit, "pause": pause}, **settings)
        return self._client.answer()

    def look(self, stream: str = STREAM) -> Answer:
        """What the cache holds of a stream."""
        self.order("look", {"table": stream})
        return self._client.answer()

    def order(self, action: str, more: dict[str, Any] | None = None, **settings: Any) -> None:
        """Have something done with the source."""
        self._client.order(
            action=action,
            folder=str(self._folder),
            executable=str(self._executable),
            config=self._source.config(**settings),
            streams=BOTH,
            cache=self._cache,
            **(more or {}),
        )
