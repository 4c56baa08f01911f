"""The command `python -m tools.pictures`: draws all pictures, from real runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.pictures import minutes, runs, terminal, way
from tools.pictures.palette import PALETTES

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "docs" / "pictures"


def main() -> None:
    """Draw into docs/pictures and bench, for light pages and for dark ones."""
    used = minutes.minutes_used(minutes.read())
    outputs = {"demo": runs.demo(), "progress": runs.progress()}
    for palette in PALETTES:
        pictures = {
            "way": way.draw(palette),
            "credits": minutes.draw(used, palette),
            **{name: terminal.draw(said, palette, name) for name, said in outputs.items()},
        }
        for name, svg in pictures.items():
            (FOLDER / f"{name}{palette.suffix}.svg").write_text(svg, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "bench.plots"], cwd=PROJECT, check=True, timeout=120)


if __name__ == "__main__":
    main()
