"""The command line, and the one place that turns an error into the last line."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

import click
from singer_sdk.exceptions import MappingError

from tap_nexudus_usage.errors import TapError, TargetGoneError, Terminated
from tap_nexudus_usage.tap import TapNexudusUsage

logger = logging.getLogger(__name__)


def main(
    args: Sequence[str] | None = None, tap_class: type[TapNexudusUsage] = TapNexudusUsage
) -> int:
    """Run the command line `args` (None: the process's) and return the exit code.

    Whatever goes wrong ends in one last line on stderr that says what and what to do; a traceback
    comes before it for a bug in the tap, or at debug level.
    """
    try:
        command = tap_class.cli
    except ValueError as error:
        # The SDK's, of a LOGLEVEL that there is not; no log can be written yet.
        click.echo(f"TAP_NEXUDUS_USAGE_LOGLEVEL or LOGLEVEL is wrong: {error}", err=True)
        return 1
    try:
        code: int | None = command.main(args, prog_name=tap_class.name, standalone_mode=False)
    except (Exception, Terminated, KeyboardInterrupt) as error:
        if isinstance(error, TargetGoneError):
            # The interpreter, at its end, would fail to write what is left in the buffer.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _silence_other_threads()
        is_bug, message, code = _explain(error)
        level = logging.CRITICAL if is_bug else logging.DEBUG
        logger.log(level, "The traceback of what the last line says", exc_info=True)
        logger.critical("%s", " ".join(message.splitlines()))
    return code or 0


def _silence_other_threads() -> None:
    """Calls still under way must not have the last word."""
    this_thread = threading.get_ident()
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: record.thread == this_thread)


def _explain(error: BaseException) -> tuple[bool, str, int]:
    """Whether an error that ended the run is a bug, what the last line says, the exit code."""
    if isinstance(error, Terminated):
        return False, f"{error}; what was emitted so far won't be emitted again", error.exit_code
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return False, "Stopped by SIGINT", 128 + signal.SIGINT
    if isinstance(error, TapError):
        return False, str(error), 1
    if isinstance(error, MappingError):
        return False, f"Setting stream_maps is wrong: {error}", 1
    if isinstance(error, click.ClickException):
        return False, error.format_message(), error.exit_code
    return True, f"This is a bug in the tap, please report it: {type(error).__name__}: {error}", 1
