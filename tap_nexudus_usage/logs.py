"""What goes for every line of every log, whoever writes it and wherever it is configured to go."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from typing_extensions import override

from tap_nexudus_usage.redaction import Redactor, one_line


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
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    return {handler for logger in loggers for handler in logger.handlers}


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
