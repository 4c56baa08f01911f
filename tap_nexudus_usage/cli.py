"""The command line, and the one place that turns an error into the last line."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from tap_nexudus_usage.errors import OutputError, Terminated
from tap_nexudus_usage.explain import Explanation, explain
from tap_nexudus_usage.lines import output_error
from tap_nexudus_usage.logs import configured, silence_other_threads
from tap_nexudus_usage.start import imports, open_streams
from tap_nexudus_usage.termination import SIGNALS

if TYPE_CHECKING:
    from tap_nexudus_usage.singer.tap import TapNexudusUsage

TAKES_NO_MORE = {errno.EBADF, errno.ENOSPC, errno.EDQUOT}
"""Errors of a stdout that is closed, or a full disk's."""

logger = logging.getLogger(__name__)


def main(args: Sequence[str] | None = None, tap_class: type[TapNexudusUsage] | None = None) -> int:
    """Run the command line `args` (None: the process's) and return the exit code.

    Whatever goes wrong ends in one last line on stderr that says what and what to do; a traceback
    comes before it for a bug in the tap, or at debug level.
    """
    open_streams()
    try:
        for signum in SIGNALS:
            signal.signal(signum, _end_now)
        return _run(args, tap_class)
    except (Exception, Terminated) as error:  # noqa: BLE001 - logged by _tell
        return _tell(error)


def _end_now(signum: int, _: FrameType | None) -> None:
    """Raise Terminated; a sync, which has something to finish first, replaces this handler."""
    for another in SIGNALS:
        signal.signal(another, signal.SIG_DFL)
    raise Terminated(signum)


def _run(args: Sequence[str] | None, tap_class: type[TapNexudusUsage] | None) -> int:
    # Not imported above: the imports are the longest part of many runs, and a signal may come then.
    with imports():
        from tap_nexudus_usage.singer import tap, writer  # noqa: PLC0415

    tap_class = tap_class or tap.TapNexudusUsage
    chosen = tap_class
    command = configured(lambda: chosen.cli)
    try:
        code: Any = command.main(args, prog_name=tap_class.name, standalone_mode=False)
    except SystemExit as end:
        # The SDK's way out where it has printed something.
        code = end.code
    except OSError as error:
        # Of what the SDK prints; all else that is written says so itself.
        if error.errno in TAKES_NO_MORE:
            raise output_error(error) from error
        raise
    writer.BufferedWriter().flush()
    return int(code or 0)


def _tell(error: BaseException) -> int:
    """Log what ended the run as the last line, and return the exit code."""
    if isinstance(error, OutputError):
        # The interpreter, at its end, would fail to write what is left in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Calls still under way must not have the last word.
    silence_other_threads()
    explanation = _explain(error)
    level = logging.CRITICAL if explanation.is_bug else logging.DEBUG
    logger.log(level, "The traceback of what the last line says", exc_info=error)
    logger.critical("%s", explanation.message)
    return explanation.code


def _explain(error: BaseException) -> Explanation:
    import click  # noqa: PLC0415 - as in _run

    if isinstance(error, click.ClickException):
        message = " ".join(error.format_message().splitlines())
        return Explanation(is_bug=False, message=message, code=error.exit_code)
    return explain(error)
