"""Writes the table of the settings into docs/settings.md, from where they are declared."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tap_nexudus_usage.settings.declared import PROPERTIES

DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"


def table() -> str:
    """A row for each setting, in the order in which they are declared."""
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, schema in PROPERTIES.items():
        (json_type,) = (item for item in schema["type"] if item != "null")
        kind = " or ".join(schema.get("enum", [])) or schema.get("format", json_type)
        kind += _bounds(schema)
        if schema.get("secret"):
            kind += ", secret"
        default = f"`{_as_written(schema['default'])}`" if "default" in schema else ""
        rows.append(f"| `{name}` | {kind} | {default} | {schema['description']} |")
    return "\n".join(rows) + "\n"


def _bounds(schema: Mapping[str, Any]) -> str:
    """Between which numbers a setting has to lie, if that is declared."""
    if "maximum" in schema:
        return f", {schema['minimum']} to {schema['maximum']}"
    if "minimum" in schema:
        return f", at least {schema['minimum']}"
    return f", more than {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else ""


def _as_written(value: Any) -> str:
    """A value as it is written in a configuration, text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def with_table(text: str) -> str:
    """The document with the table that is due between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def main() -> int:
    """Write it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_table(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
