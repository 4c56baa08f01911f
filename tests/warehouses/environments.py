"""An environment of its own for each target, as a runner would make it, kept in the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.pythons import find

CHECKOUT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "environments"
CACHE = CHECKOUT / ".warehouses"
UV = Path(sys.executable).parent / "uv"

ANY = ("3.11", "3.12", "3.13", "3.10")
"""Pythons that most targets run on, best tried first: their dependencies lag behind Python's."""


def environment(name: str, pythons: Sequence[str] = ANY, requirements: Path = REQUIREMENTS) -> Path:
    """The bin folder of the environment made from `<name>.txt`; skips where no Python fits."""
    folder, pins = CACHE / name, requirements / f"{name}.txt"
    made_from = folder / "requirements.txt"
    if not made_from.exists() or made_from.read_bytes() != pins.read_bytes():
        python = find(pythons)
        if python is None:
            wanted = " or ".join(pythons)
            pytest.skip(f"{name} needs Python {wanted}, and there is none on this machine")
        uv("venv", "--clear", "--no-project", "--python", python, folder)
        uv("pip", "sync", "--require-hashes", "--python", folder, pins)
        # Last, so that an environment left half made is made again.
        shutil.copy(pins, made_from)
    return folder / "bin"


def uv(*arguments: str | Path) -> None:
    """Run uv; what it says belongs to the test's output if it fails."""
    subprocess.run([UV, "--quiet", *arguments], check=True, timeout=600)
