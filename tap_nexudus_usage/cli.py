"""The command line, and the one place that turns an error into the last line."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence

import click
from singer_sdk.exceptions import MappingError

from tap_nexudus_usage.errors import TapError, Terminated
from tap_nexudus_usage.tap import TapNexudusUsage

logger = logging.getLogger(__name__)


def main(
    args: Sequence[str] | None = None, tap_class: type[TapNexudusUsage] = TapNexudusUsage
) -> int:
    """Run the command line `args` (None: the process's) and return the exit code.

    Whatever goes wrong ends in one last line on stderr that says what and what to do; a traceback
    comes before it for a bug in the tap, or at debug level.
    """
    command = tap_class.cli
    try:
        code: int | None = command.main(args, prog_name=tap_class.name, standalone_mode=False)
    except (Exception, Terminated, KeyboardInterrupt) as error:
        is_bug, message, code = _explain(error)
        level = logging.CRITICAL if is_bug else logging.DEBUG
        logger.log(level, "The traceback of what the last line says", exc_info=True)
        logger.critical("%s", " ".join(message.splitlines()))
    return code or 0


def _explain(error: BaseException) -> tuple[bool, str, int]:
    """Whether an error that ended the run is a bug, what the last line says, the exit code."""
    if isinstance(error, Terminated):
        return False, f"{error}; the next run goes on where this one ends", error.exit_code
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return False, "Stopped by SIGINT", 128 + signal.SIGINT
    if isinstance(error, (TapError, MappingError)):
        return False, str(error), 1
    if isinstance(error, click.ClickException):
        return False, error.format_message(), error.exit_code
    if isinstance(error, BrokenPipeError):
        # Nothing more can be written, by the interpreter at its end neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False, "The target stopped reading before all was written; see its own log", 1
    return True, f"This is a bug in the tap, please report it: {type(error).__name__}: {error}", 1
