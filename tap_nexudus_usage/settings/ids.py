"""The Ids configured: in the configuration, in a file, or both."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.settings.tidying import LARGEST_ID, to_integer


def record_ids(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The distinct Ids configured, in order; empty where none is. Raises SettingsError."""
    listed = [_record_id(value, "Setting record_ids") for value in config.get("record_ids", [])]
    if path := config.get("record_ids_file"):
        listed += _read_ids(Path(path))
    return tuple(dict.fromkeys(listed))


def _read_ids(path: Path) -> list[int]:
    """The Ids in a text or CSV file: one a line, or the column `Id`; `#` begins a comment."""
    where = f"Setting record_ids_file: {path}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if _has_content(row)]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a text or CSV file in UTF-8"
        message = f"{where} can't be read: {reason}"
        raise SettingsError(message) from error
    header = [cell.strip().casefold() for cell in rows[0][1]] if rows else []
    column = header.index("id") if "id" in header else None
    if column is None and any(len(row) > 1 for _, row in rows):
        message = f"{where} has several columns, but none is named Id"
        raise SettingsError(message)
    if column is not None:
        rows = rows[1:]
    for number, row in rows:
        if column is not None and len(row) > len(header):
            message = f"{where}, line {number} has more cells than the header"
            raise SettingsError(message)
    if not rows:
        message = f"{where} holds no Id"
        raise SettingsError(message)
    return [
        _record_id(to_integer("".join(row[column or 0 :][:1])), f"{where}, line {number}")
        for number, row in rows
    ]


def _has_content(row: list[str]) -> bool:
    return any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")


def _record_id(value: Any, where: str) -> int:
    if type(value) is int and 0 < value <= LARGEST_ID:
        return value
    message = f"{where}: {value!r:.40} is no Id; Ids are whole numbers from 1 to {LARGEST_ID}"
    raise SettingsError(message)
