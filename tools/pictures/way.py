"""The way of a record from Nexudus to a chart, as a drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER
from tools.pictures.palette import MONO, SANS, Palette

WIDTH, HEIGHT = 830, 374

USES_FIELDS = ("Id", "CoworkerExtraServiceId", "BookingId", "CreditUsed", "BookingFromTime")
ALLOWANCES_FIELDS = ("Id", "CoworkerId", "ExtraServiceName", "ChargePeriod", "RemainingUses")
JOINED = {"Id", "CoworkerExtraServiceId"}

MONO_ADVANCE = 6.6
"""Pixels that a character of a fixed width takes."""

ALT = (
    "From Nexudus to a chart. Nexudus has the ledger of uses (CoworkerExtraServiceUseHistory) and "
    "the allowances (CoworkerExtraService). tap-nexudus-usage reads both, through Singer (Meltano, "
    "or any runner) or Airbyte (PyAirbyte, or a platform). The warehouse has a table of each: a "
    "use's CoworkerExtraServiceId is the Id of its allowance, its BookingId that of the booking. "
    "The chart is made from both."
)
"""What the drawing shows, in words."""


def draw(palette: Palette) -> str:
    """The drawing as SVG."""
    body = "\n".join(_parts(palette))
    style = (
        f"text{{font-family:{SANS};font-size:13px;fill:{palette.text}}}"
        f".mono{{font-family:{MONO};font-size:11px}}"
        ".title{font-weight:600;font-size:13px}"
        f".muted{{fill:{palette.muted};font-size:12px}}"
        f".key{{fill:{palette.accent};font-weight:600}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img">\n<title>{escape(ALT)}</title>\n'
        f"<style>{style}</style>\n"
        f'<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        f'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="{palette.muted}"/></marker>'
        f"</defs>\n{body}\n</svg>\n"
    )


def _parts(palette: Palette) -> Iterator[str]:
    yield _text(WIDTH / 2, 24, "From Nexudus to a chart", "title", middle=True)

    yield _box(palette, 4, 44, 232, 290, "Nexudus")
    yield _box(palette, 12, 80, 216, 104)
    yield _text(22, 104, "Uses, the ledger", "title")
    yield _mono(22, 125, LEDGER.name)
    yield _text(22, 149, "what was used, how much,", "muted")
    yield _text(22, 166, "and by which booking", "muted")
    yield _box(palette, 12, 220, 216, 104)
    yield _text(22, 244, "Allowances", "title")
    yield _mono(22, 265, ALLOWANCES.name)
    yield _text(22, 289, "whose credit, of which kind,", "muted")
    yield _text(22, 306, "in which unit, what is left", "muted")

    yield _arrow(palette, 238, 262, 202)
    yield _box(palette, 266, 44, 156, 290, "tap-nexudus-usage")
    yield _text(344, 94, "reads both, through", "muted", middle=True)
    yield _box(palette, 276, 108, 136, 84)
    yield _text(344, 132, "Singer", "title", middle=True)
    yield _text(344, 156, "Meltano,", "muted", middle=True)
    yield _text(344, 173, "or any runner", "muted", middle=True)
    yield _text(344, 210, "or", "muted", middle=True)
    yield _box(palette, 276, 222, 136, 84)
    yield _text(344, 246, "Airbyte", "title", middle=True)
    yield _text(344, 270, "PyAirbyte,", "muted", middle=True)
    yield _text(344, 287, "or a platform", "muted", middle=True)

    yield _arrow(palette, 424, 448, 202)
    yield _box(palette, 452, 44, 270, 290, "Warehouse")
    yield from _table(palette, 80, LEDGER.stream, USES_FIELDS)
    yield from _table(palette, 220, ALLOWANCES.stream, ALLOWANCES_FIELDS)
    # From the use's CoworkerExtraServiceId to the allowance's Id.
    yield (
        f'<path d="M624 130H698V256H490" fill="none" stroke="{palette.accent}" stroke-width="1.6"/>'
    )
    for x, y in ((624, 130), (490, 256)):
        yield f'<circle cx="{x}" cy="{y}" r="3" fill="{palette.accent}"/>'
    yield _text(502, 206, "CoworkerExtraServiceId = Id", "mono key")
    yield _text(538, 148, "of the booking", "muted")

    yield _arrow(palette, 724, 748, 202)
    yield from _chart(palette)
    words = "Every morning: what is new, what was corrected, what was deleted."
    yield _text(WIDTH / 2, 360, words, "muted", middle=True)


def _table(palette: Palette, y: int, name: str, fields: Sequence[str]) -> Iterator[str]:
    yield _box(palette, 460, y, 254, 104)
    yield _mono(468, y + 17, name)
    yield f'<path d="M460 {y + 25}H714" stroke="{palette.line}"/>'
    for number, field in enumerate(fields):
        cls = "mono key" if field in JOINED else "mono"
        yield _text(468, y + 40 + 14 * number, field, cls)


def _chart(palette: Palette) -> Iterator[str]:
    yield _box(palette, 752, 144, 74, 116)
    yield _text(789, 166, "Chart", "title", middle=True)
    for number, height in enumerate((26, 44, 36, 58)):
        x = 763 + 14 * number
        yield (
            f'<rect x="{x}" y="{242 - height}" width="10" height="{height}" '
            f'fill="{palette.series[number % 2]}"/>'
        )
    yield f'<path d="M759 242H819" stroke="{palette.muted}"/>'


def _box(palette: Palette, x: int, y: int, width: int, height: int, title: str = "") -> str:
    fill = palette.box if title else palette.page
    box = (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{fill}" '
        f'stroke="{palette.line}"/>'
    )
    return box + (_text(x + width / 2, y + 25, title, "title", middle=True) if title else "")


def _text(x: float, y: float, text: str, cls: str, *, middle: bool = False) -> str:
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:g}" y="{y:g}" class="{cls}"{anchor}>{escape(text)}</text>'


def _mono(x: int, y: int, text: str) -> str:
    """A text that is as wide in any font of the reader's."""
    return (
        f'<text x="{x}" y="{y}" class="mono" textLength="{MONO_ADVANCE * len(text):g}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
    )


def _arrow(palette: Palette, x1: int, x2: int, y: int) -> str:
    return (
        f'<path d="M{x1} {y}H{x2}" stroke="{palette.muted}" stroke-width="1.6" '
        'marker-end="url(#end)"/>'
    )
