"""Runs quick and wide tests and installs on every supported Python found, and ends with a table."""

from __future__ import annotations

import argparse
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tools.wheels import (
    CONSTRAINTS,
    LONGEST_INSTALLATION,
    PROJECT,
    UV,
    supported_pythons,
    why_not,
)

ENVIRONMENTS = PROJECT / ".venv" / "pythons"
LONGEST_SUITE = 1_800.0
"""Seconds."""

SUITE = "not long and not warehouse and not airbyte"
"""The quick and the wide tests, and those that install the tap: no wheel may be for a Python."""


@dataclass(frozen=True)
class Row:
    """What came of a Python; `passed` is None where it isn't found."""

    python: str
    passed: bool | None
    outcome: str
    seconds: float = 0.0

    def __str__(self) -> str:
        """As a line of the table."""
        return f"{self.python:<10}{self.seconds:>8.0f}  {self.outcome}"


def find(versions: Sequence[str]) -> Path | None:
    """The first Python of these versions, inside the PATH or outside."""
    for version in versions:
        options = ["--system", "--no-project", "--no-python-downloads"]
        found = subprocess.run(
            [UV, "python", "find", *options, version],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if found.returncode == 0:
            return Path(found.stdout.strip())
        for folder in homes():
            for python in sorted(folder.glob(f"{version}*/bin/python{version}")):
                return python
    return None


def homes() -> Iterator[Path]:
    """Where pyenv keeps its Pythons, even if HOME doesn't say so, and where this one has others."""
    if root := os.environ.get("PYENV_ROOT"):
        yield Path(root) / "versions"
    for folder in os.get_exec_path():
        # Of pyenv's shims.
        yield Path(folder).parent / "versions"
    for home in (Path.home(), Path(pwd.getpwuid(os.geteuid()).pw_dir)):
        yield home / ".pyenv" / "versions"
    yield Path(sys.base_prefix).parent


def test_on(version: str) -> Row:
    """Run the tests on a Python, in an environment of its own."""
    python = find([version])
    if python is None:
        return Row(version, None, "not found")
    print(f"\n== Python {version}: {python}", flush=True)
    begin = time.monotonic()
    folder = ENVIRONMENTS / version
    try:
        install(python, folder)
    except subprocess.CalledProcessError:
        outcome = f"not installed; {why_not(version) or 'see above'}"
        return Row(version, passed=False, outcome=outcome, seconds=time.monotonic() - begin)
    passed, outcome = run_tests(folder)
    return Row(version, passed=passed, outcome=outcome, seconds=time.monotonic() - begin)


def install(python: Path, folder: Path) -> None:
    """Make an environment from what is pinned; raises CalledProcessError."""
    uv("venv", "--clear", "--python", python, folder)
    # Wheels only: what a package lacks is to be said, not to be made up for by a compiler.
    wheels = ["--only-binary", ":all:", "--compile-bytecode", "--require-hashes"]
    uv("pip", "sync", "--python", folder, *wheels, CONSTRAINTS)
    itself = ["--no-deps", "--no-build-isolation", "--editable"]
    uv("pip", "install", "--python", folder, *itself, PROJECT)


def uv(*arguments: str | Path) -> None:
    """Run uv; raises CalledProcessError."""
    subprocess.run([UV, "--quiet", *arguments], check=True, timeout=LONGEST_INSTALLATION)


def run_tests(folder: Path) -> tuple[bool, str]:
    """Whether the tests pass in an environment, and how many."""
    report = folder / "report.xml"
    command = [str(folder / "bin" / "pytest"), "--quiet", "-m", SUITE, f"--junit-xml={report}"]
    try:
        finished = subprocess.run(command, cwd=PROJECT, check=False, timeout=LONGEST_SUITE)
    except subprocess.TimeoutExpired:
        return False, f"no end within {LONGEST_SUITE:.0f} s"
    if not report.exists():
        return False, f"no tests ran: pytest ended with {finished.returncode}"
    suite = ET.parse(report).getroot()[0]  # noqa: S314 - pytest has just written it
    count = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    outcome = f"{passed} passed, {failed} failed, {count['skipped']} skipped"
    return finished.returncode == 0, outcome


def main() -> int:
    """Test on all; 1 where a Python fails, or too few are found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-least", type=int, default=1, help="how many Pythons have to be found")
    at_least = parser.parse_args().at_least
    rows = [test_on(version) for version in supported_pythons()]
    print("\nPython     seconds  outcome", *rows, sep="\n")
    found = sum(row.passed is not None for row in rows)
    if found < at_least:
        print(f"{found} Pythons found, of at least {at_least} asked for")
    return 1 if found < at_least or any(row.passed is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
