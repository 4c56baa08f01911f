"""The colours, after those of the pages on which the pictures stand."""

from __future__ import annotations

from dataclasses import dataclass

MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SANS = "-apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
"""What the reader's machine has: fonts of other hosts are blocked where the pictures are shown."""


@dataclass(frozen=True)
class Palette:
    """Colours that stand out from each other and from the page.

    Attributes:
        suffix: of the files' names.
        series: of lines and bars, most important first; the last is for all others.
    """

    suffix: str
    page: str
    box: str
    line: str
    text: str
    muted: str
    accent: str
    good: str
    series: tuple[str, ...]


LIGHT = Palette(
    suffix="",
    page="#ffffff",
    box="#f6f8fa",
    line="#b6bfc8",
    text="#1f2328",
    muted="#59636e",
    accent="#0969da",
    good="#1a7f37",
    series=("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf8700", "#9aa4ae"),
)
DARK = Palette(
    suffix="-dark",
    page="#0d1117",
    box="#161b22",
    line="#4d5560",
    text="#f0f6fc",
    muted="#a2abb4",
    accent="#58a6ff",
    good="#3fb950",
    series=("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#e3b341", "#6e7681"),
)
PALETTES = (LIGHT, DARK)
