"""What commands write on a terminal, as pictures whose text is text."""

from __future__ import annotations

import io
import re
from html import unescape

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tools.pictures.palette import MONO, Palette

# rich's own names fonts that it would load from another host, and draws a window.
SVG = f"""\
<svg xmlns="http://www.w3.org/2000/svg" class="rich-terminal" viewBox="0 0 {{width}} {{height}}" \
role="img">
<style>
.{{unique_id}}-matrix{{{{font-family:{MONO};font-size:{{char_height}}px;\
line-height:{{line_height}}px}}}}
{{styles}}
</style>
{{chrome}}
<g transform="translate({{terminal_x}},{{terminal_y}})">
{{backgrounds}}
<g class="{{unique_id}}-matrix">
{{matrix}}
</g>
</g>
</svg>
"""

NOT_SHOWN = (
    # The buttons of a window that there is none of.
    r'<g transform="translate\(26,22\)">.*?</g>',
    # The ends of lines, and what nothing goes beyond.
    r"<text [^>]*>\n</text>",
    r' clip-path="[^"]*"',
)

BOX = re.compile(r"[─-╿]+")
HEADLINE = re.compile(r"^== .*$", re.MULTILINE)
COMMAND = re.compile(r"^\$ .*$", re.MULTILINE)
BAR = re.compile(r"[▀-▟]+")


def draw(output: str, palette: Palette, name: str) -> str:
    """What a terminal shows after `output`, as SVG; `name` sets it apart from others on a page."""
    shown = screen(output)
    text = Text(shown)
    for pattern, style in ((BOX, "grey"), (HEADLINE, "title"), (COMMAND, "title"), (BAR, "bar")):
        text.highlight_regex(pattern, _style(palette, style))
    lines = shown.splitlines()
    width = max(map(len, lines))
    console = Console(record=True, width=width, file=io.StringIO(), legacy_windows=False)
    console.print(text, soft_wrap=True, end="")
    svg = console.export_svg(title="", theme=_theme(palette), code_format=SVG, unique_id=name)
    for needless in NOT_SHOWN:
        svg = re.sub(needless, "", svg, flags=re.DOTALL)
    return "".join(f"{line.strip()}\n" for line in svg.splitlines() if line.strip())


def screen(output: str) -> str:
    """What is left to see of an output in which lines begin anew."""
    return "\n".join(
        line.rstrip("\r").rpartition("\r")[2].rstrip() for line in output.split("\n")
    ).strip("\n")


def text_of(svg: str) -> list[str]:
    """The lines that a picture shows, without blanks, of which it has only some."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(r'<text [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', svg):
        rows.setdefault(float(y), []).append((float(x), unescape(text)))
    return unspaced("\n".join("".join(t for _, t in sorted(rows[y])) for y in sorted(rows)))


def unspaced(output: str) -> list[str]:
    """The lines of an output without blanks, and without blank lines."""
    lines = ("".join(line.split()) for line in output.split("\n"))
    return [line for line in lines if line]


def _style(palette: Palette, name: str) -> str:
    colours = {"grey": palette.muted, "title": f"bold {palette.accent}", "bar": palette.good}
    return colours[name]


def _theme(palette: Palette) -> TerminalTheme:
    def rgb(colour: str) -> tuple[int, int, int]:
        red, green, blue = bytes.fromhex(colour[1:])
        return red, green, blue

    plain = [rgb(palette.text)] * 8
    return TerminalTheme(rgb(palette.box), rgb(palette.text), plain)
