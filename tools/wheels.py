"""Looks whether all pinned versions install from wheels, for every Python that is supported.

That Python needn't be here: uv resolves for another one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[1]
CONSTRAINTS = PROJECT / "constraints.txt"
UV = Path(sys.executable).with_name("uv")
LONGEST_INSTALLATION = 900.0
"""Seconds."""


def supported_pythons() -> list[str]:
    """The Pythons that the package says it supports, the oldest first."""
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)


def why_not(python: str, constraints: Path = CONSTRAINTS) -> str | None:
    """Why the pins don't install from wheels for a Python, naming those without; None if they do.

    The wheels are those for a machine like this one.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        if (problem := _try_to_install(python, constraints, folder)) is None:
            return None
        pins = re.split(r"^(?=\w)", constraints.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        files = [folder / f"{number}.txt" for number in range(len(pins))]
        for file, pin in zip(files, pins, strict=True):
            file.write_text(pin, encoding="utf-8")
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda file: _try_to_install(python, file, folder, "--no-deps"), files)
        without = [pin.split()[0] for pin, why in zip(pins, found, strict=True) if why is not None]
        return f"no wheel: {', '.join(without)}" if without else problem


def _try_to_install(python: str, pins: Path, folder: Path, *options: str) -> str | None:
    """What uv says against it; None where it would install."""
    install = [str(UV), "pip", "install", "--quiet", "--dry-run", "--python", sys.executable]
    what = ["--require-hashes", "--requirement", str(pins), "--target", str(folder / "target")]
    finished = subprocess.run(
        [*install, "--python-version", python, "--only-binary", ":all:", *options, *what],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_INSTALLATION,
    )
    return finished.stderr.strip() if finished.returncode else None


def main() -> int:
    """Look for each Python; 1 where one lacks a wheel."""
    problems = {python: why_not(python) for python in supported_pythons()}
    for python, problem in problems.items():
        print(f"Python {python}: {problem or 'every package installs from a wheel'}")
    return 1 if any(problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
