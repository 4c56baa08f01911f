"""Logs as LOG messages: clients throw away what a source writes to stderr."""

from __future__ import annotations

import logging
from contextlib import suppress

from typing_extensions import override

from tap_nexudus_usage.airbyte.messages import Messages
from tap_nexudus_usage.errors import OutputError
from tap_nexudus_usage.logs import RedactingFilter
from tap_nexudus_usage.redaction import Redactor

LEVELS = {
    logging.CRITICAL: "FATAL",
    logging.ERROR: "ERROR",
    logging.WARNING: "WARN",
    logging.INFO: "INFO",
    logging.DEBUG: "DEBUG",
}


class MessageHandler(logging.Handler):
    """Writes what is logged as messages."""

    def __init__(self, messages: Messages, redactor: Redactor) -> None:
        """Secrets that `redactor` knows are left out."""
        super().__init__()
        self._messages = messages
        self.addFilter(RedactingFilter(redactor))

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Write a message; where nobody reads any more, whoever writes records will find out."""
        with suppress(OutputError):
            self._messages.log(LEVELS.get(record.levelno, "INFO"), self.format(record))


def set_up(messages: Messages, redactor: Redactor, level: str) -> None:
    """Log by messages only."""
    logging.captureWarnings(capture=True)
    logging.basicConfig(
        level=level, format="%(message)s", handlers=[MessageHandler(messages, redactor)], force=True
    )
