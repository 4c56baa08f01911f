"""Configuration as Singer's runners give it: files and environment variables, checked."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from dotenv import find_dotenv, load_dotenv
from singer_sdk.configuration._dict_config import parse_environment_config

from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.settings.declared import PROPERTIES
from tap_nexudus_usage.settings.loading import validated
from tap_nexudus_usage.singer import batch_files

logger = logging.getLogger(__name__)

ALMOST = 0.88
"""How much of two names has to be the same, by difflib; one letter less of five or more is."""


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration tidied, with the defaults, and what is wrong with it.

    Raises SettingsError where batches can't be written as configured.
    """
    # `maps` looks at the maps.
    tidied, errors = validated(config, schema, aside="stream_maps")
    if not errors and (batch_config := tidied.get("batch_config")):
        batch_files.check(batch_config)
    return tidied, errors


def from_environment(properties: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The settings in environment variables; raises SettingsError.

    Ours stay text, which `tidying` reads; the SDK's reading fails on `1,2` and `1.5`. Its own
    settings are read by it, one by one so that an error can name the variable.
    """
    _load_dotenv()
    config: dict[str, Any] = {}
    for name, schema in properties.items():
        as_text = {"type": ["string"]} if name in PROPERTIES else schema
        try:
            alone = {"properties": {name: as_text}}
            config |= parse_environment_config(alone, prefix, dotenv_path=os.devnull)
        except ValueError:
            message = f"Environment variable {prefix}{name.upper()} must hold valid JSON"
            raise SettingsError(message) from None
    _warn_of_mistyped(properties, prefix)
    return config


def _load_dotenv() -> None:
    """Let the `.env` of the working folder, or above, say what the environment doesn't.

    The SDK says that it does this, but looks for the file above its own installation, and lets what
    is in it go before what was set for this very run.
    """
    path = find_dotenv(usecwd=True)
    try:
        load_dotenv(path)
    except (OSError, ValueError) as error:
        other = "it is no UTF-8" if isinstance(error, UnicodeError) else "it isn't text"
        message = f"{path} can't be read: {getattr(error, 'strerror', None) or other}"
        raise SettingsError(message) from error


def _warn_of_mistyped(properties: Iterable[str], prefix: str) -> None:
    """Name the environment variables that are almost a setting's.

    Others may be another plugin's: what inherits from the tap in Meltano has a name that begins
    with the tap's.
    """
    ours = {name.upper() for name in properties}
    given = {name.removeprefix(prefix) for name in os.environ if name.startswith(prefix)}
    for name in sorted(given - ours):
        is_anothers = any(name.endswith(f"_{own}") for own in ours)
        if not is_anothers and (meant := get_close_matches(name.upper(), ours, 1, ALMOST)):
            logger.warning(
                "There is no setting for environment variable %.100r, it is ignored: is %s meant?",
                prefix + name,
                prefix + meant[0],
            )


@contextmanager
def readable_errors() -> Iterator[None]:
    """Put into words what fails about a config file; raises SettingsError."""
    try:
        yield
    except OSError as error:
        message = f"The config file can't be read: {error.strerror or error}"
        raise SettingsError(message) from error
    except (ValueError, TypeError, RecursionError) as error:
        message = "The config file must hold a JSON object"
        raise SettingsError(message) from error
