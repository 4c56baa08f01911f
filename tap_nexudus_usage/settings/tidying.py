"""From what the user wrote, environment variables for example, to the types that are due."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from jsonschema.exceptions import ValidationError

LARGEST_ID = 2**63 - 1

_DIGITS = re.compile(r"[+-]?\d+", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_DECIMAL = re.compile(r"[+-]?\d+\.\d+", re.ASCII)


def tidy(config: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """`config` without empty settings, and with text turned into the type that is due.

    White space around text goes. Environment variables are text: numbers become numbers,
    comma-separated Ids an array; `1e3` is a whole number, too. What can't be turned stays as it is,
    for the JSON schema to complain of.
    """
    tidied = {}
    for name, value in config.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        types = properties.get(name, {}).get("type", [])
        if "array" in types:
            tidied[name] = _to_array(value)
        elif "boolean" in types:
            tidied[name] = _BOOLEANS.get(str(value).strip().casefold(), value)
        elif "integer" in types:
            tidied[name] = _to_whole(_to_number(value))
        elif "number" in types:
            tidied[name] = _to_number(value)
        elif isinstance(value, str) and name != "password":
            # A line's end that came along from a file or a clipboard.
            tidied[name] = value.strip()
        else:
            tidied[name] = value
    return tidied


def describe(error: ValidationError) -> str:
    """What is wrong with a setting, without its value: it may be a secret."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.path)
    limit: Any = error.validator_value
    if error.validator == "type":
        names = [limit] if isinstance(limit, str) else limit
        wanted = "of type " + " or ".join(name for name in names if name != "null")
    elif error.validator == "minimum":
        wanted = f"at least {limit}"
    elif error.validator == "exclusiveMinimum":
        wanted = f"more than {limit}"
    elif error.validator == "maximum":
        wanted = f"at most {limit}"
    elif error.validator == "enum":
        wanted = "one of " + ", ".join(map(str, limit))
    else:
        wanted = f"as its schema says ({error.validator})"
    return f"Setting {path.removeprefix('.')} must be {wanted}"


def to_integer(value: Any) -> Any:
    """`value` as an integer where it is a text of digits, else as it is."""
    text = value.strip() if isinstance(value, str) else ""
    # int() of a very long text is slow and, from Python 3.11 on, refused.
    return int(text) if len(text) < len(str(LARGEST_ID)) + 1 and _DIGITS.fullmatch(text) else value


def _to_number(value: Any) -> Any:
    # The SDK reads fractions in config files as Decimal.
    is_fraction = isinstance(value, str) and _DECIMAL.fullmatch(value.strip())
    return float(value) if is_fraction or isinstance(value, Decimal) else to_integer(value)


def _to_whole(value: Any) -> Any:
    """`value` as an integer where it is a float without a fraction: JSON's `1e3`, say."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_array(value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
    return [to_integer(item) for item in value] if isinstance(value, list) else value
