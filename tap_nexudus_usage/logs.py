"""What goes for every line of every log, whoever writes it and wherever it is configured to go."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from typing_extensions import override

from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.redaction import Redactor, one_line

CONFIG = "SINGER_SDK_LOG_CONFIG"
"""The variable that names a file with a configuration, as for any tap; Meltano sets it."""

T = TypeVar("T")


def configured(configure: Callable[[], T]) -> T:
    """The result of `configure`, which has the SDK set up logging.

    Whatever the configuration, the tap can be heard: loggers that exist already aren't disabled,
    though that is the default, and the last line of a failed run gets to stderr. Raises
    SettingsError where it can't be followed.
    """
    if not os.environ.get(CONFIG, "").strip():
        os.environ.pop(CONFIG, None)
    try:
        result = configure()
        _check_handlers()
    except Exception as error:
        for logger in _loggers():
            logger.handlers.clear()
        if isinstance(error, ValueError) and str(error).startswith("Unknown level"):
            message = f"TAP_NEXUDUS_USAGE_LOGLEVEL or LOGLEVEL is wrong: {error}"
        elif CONFIG in os.environ:
            causes = ": ".join(map(str, _chain(error)))
            message = f"{CONFIG} names a file that can't be used, {os.environ[CONFIG]}: {causes}"
        else:
            raise
        raise SettingsError(message) from error
    finally:
        for logger in _loggers():
            logger.disabled = False
        _make_sure_of_stderr()
    return result


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _check_handlers() -> None:
    """Raise ValueError where a handler would spoil the messages, or fail with each line."""
    record = logging.LogRecord("tap_nexudus_usage", logging.INFO, "", 0, "x", (), None)
    for handler in _handlers():
        if getattr(handler, "stream", None) is sys.stdout:
            message = "a handler writes to stdout, where nothing but Singer messages may go"
            raise ValueError(message)
        try:
            handler.format(record)
        except Exception as error:
            message = f"the formatter of handler {handler.name} fails"
            raise ValueError(message) from error


def _make_sure_of_stderr() -> None:
    """Let what ends a run get to stderr where no handler that is reached writes there.

    Meltano, for one, shows the last line of it.
    """
    own = logging.getLogger("tap_nexudus_usage")
    logger: logging.Logger | None = own
    while logger is not None:
        if any(getattr(handler, "stream", None) is sys.stderr for handler in logger.handlers):
            return
        logger = logger.parent if logger.propagate else None
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.CRITICAL)
    # The SDK's.
    handler.setFormatter(
        logging.Formatter("{asctime:23s} | {levelname:8s} | {name:30s} | {message}", style="{")
    )
    own.addHandler(handler)


def add_filter(log_filter: logging.Filter | Callable[[logging.LogRecord], bool]) -> None:
    """Add `log_filter` to all handlers."""
    for handler in _handlers():
        handler.addFilter(log_filter)


def silence_other_threads() -> None:
    """Leave the last word to this thread, for as long as the process lives.

    The handlers' locks stay with it: another's record may have passed the filters already.
    """
    this_thread = threading.get_ident()
    add_filter(lambda record: record.thread == this_thread)
    # Handler.handle holds it while it writes, which it takes by `acquire` up to Python 3.12, and
    # itself from 3.13 on.
    for handler in _handlers():
        handler.acquire()


def _handlers() -> set[logging.Handler]:
    """All there are: SINGER_SDK_LOG_CONFIG may give any logger its own."""
    return {handler for logger in _loggers() for handler in logger.handlers}


def _loggers() -> list[logging.Logger]:
    return [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]


class RedactingFilter(logging.Filter):
    """The last guard: no secret, and one line for each message, whatever library wrote it."""

    def __init__(self, redactor: Redactor) -> None:
        """`redactor` may learn of secrets later on."""
        super().__init__()
        self._redactor = redactor

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Mend the message and the traceback; let the record pass."""
        message = record.getMessage()
        mended = one_line(self._redactor.redact(message))
        if mended != message:
            record.msg, record.args = mended, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            mended = self._redactor.redact(record.exc_text)
            if mended != record.exc_text:
                # Formatters that make their own text of the exception must do without it.
                record.exc_text, record.exc_info = mended, None
        return True
