"""The JSON files that a runner hands over: catalog and state."""

from __future__ import annotations

import json
from typing import Any, TextIO

from tap_nexudus_usage.errors import SettingsError


def read(file: TextIO | None, what: str) -> dict[str, Any] | None:
    """The JSON object in `file`, None where no file is given; raises SettingsError."""
    if file is None:
        return None
    try:
        # Left open, it would get the last word: Meltano has Python tell of it.
        with file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        message = f"The {what} file isn't valid JSON; restore it, or run without it"
        raise SettingsError(message) from error
    if not isinstance(content, dict):
        message = f"The {what} file must hold a JSON object; restore it, or run without it"
        raise SettingsError(message)
    return content
