"""How far a read is: a log line every ten seconds, or a bar on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn

from typing_extensions import Self

if TYPE_CHECKING:
    from types import TracebackType

    from tqdm import tqdm

    from tap_nexudus_usage.nexudus.connection import Connection

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0


class Progress:
    """Reports while it is entered, and sums up when it is left; `tick` has to be called often."""

    def __init__(self, total: int | None, connection: Connection) -> None:
        """`total` Ids are to be read; None: an unknown number of records, by search."""
        self.counts: tuple[int, int] | None = None
        """Once known: how many records were read, and how many the API said there are."""
        self._total = total
        self._connection = connection
        self._done = 0
        self._emitted = 0
        self._stack = ExitStack()
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        """Begin to count the time."""
        self._started = self._reported = time.monotonic()
        if sys.stderr.isatty():
            # Not worth its import time where no terminal is.
            from tqdm import tqdm  # noqa: PLC0415
            from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

            self._stack.enter_context(logging_redirect_tqdm())
            bar = tqdm(
                total=self._total, unit=" Ids" if self._total else " records", file=sys.stderr
            )
            self._bar = self._stack.enter_context(bar)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was, and say what the run came to."""
        self._stack.close()
        tally = self._connection.tally
        logger.info(
            "%d records emitted, %s, %d calls, %d of them tried again, %d throttled, %.1f s",
            self._emitted,
            self._read(),
            tally.calls,
            tally.retries,
            tally.throttled,
            time.monotonic() - self._started,
        )

    def advance(self, *, emitted: bool) -> None:
        """One more Id or record is dealt with."""
        self._done += 1
        self._emitted += emitted
        if self._bar is not None:
            self._bar.update()

    def tick(self) -> None:
        """Report, if the last report is ten seconds old."""
        now = time.monotonic()
        if now - self._reported < EVERY_SECONDS:
            return
        self._reported = now
        if self._bar is None:
            logger.info("%s", self._line(now - self._started))
        else:
            tally = self._connection.tally
            self._bar.set_postfix(calls=tally.calls, throttled=tally.throttled)

    def _line(self, elapsed: float) -> str:
        tally, waited = self._connection.tally, self._connection.throttle.waited
        line = (
            f"{self._read()}, {tally.calls} calls, {tally.throttled} throttled, {waited:.0f} s "
            "waited for the throttle by all threads together"
        )
        if self._total is None:
            return line
        if not self._done:
            return line
        left = elapsed * (self._total - self._done) / self._done
        return f"{line}, about {left:.0f} s left"

    def _read(self) -> str:
        if self.counts is not None:
            return f"{self.counts[0]} records read, {self.counts[1]} counted"
        if self._total is None:
            return f"{self._done} records read"
        return f"{self._done} of {self._total} Ids read"
