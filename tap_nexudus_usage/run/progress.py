"""How far a read is: a log line every ten seconds, or a bar on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from typing_extensions import Self

if TYPE_CHECKING:
    from types import TracebackType

    from tqdm import tqdm

    from tap_nexudus_usage.nexudus.connection import Connection

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0


@dataclass
class Part:
    """How far one stream is.

    Attributes:
        total: so many Ids are to be read; None: an unknown number of records, by search.
        done: Ids or records dealt with.
        counts: once known, how many records were read, and how many the API said there are.
    """

    stream: str
    total: int | None
    done: int = 0
    emitted: int = 0
    counts: tuple[int, int] | None = None
    started: float = field(default_factory=time.monotonic)

    def read(self) -> str:
        """How much was read, in words."""
        if self.counts is not None:
            return f"{self.counts[0]} records read, {self.counts[1]} counted"
        if self.total is None:
            return f"{self.done} records read"
        return f"{self.done} of {self.total} Ids read"

    def seconds_left(self, now: float) -> float | None:
        """About how long it will take, if that can be told."""
        if self.total is None or not self.done:
            return None
        return (now - self.started) * (self.total - self.done) / self.done


class Progress:
    """Reports while it is entered, and sums up when it is left; `tick` has to be called often."""

    def __init__(self, connection: Connection) -> None:
        """The calls reported are those of `connection`."""
        self._connection = connection
        self._parts: list[Part] = []
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        """Begin to count the time."""
        self._started = self._reported = time.monotonic()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say what the run came to."""
        tally = self._connection.tally
        parts = (f"{p.stream}: {p.emitted} records emitted, {p.read()}; " for p in self._parts)
        logger.info(
            "%s%d calls, %d of them tried again, %d throttled, %.1f s",
            "".join(parts),
            tally.calls,
            tally.retries,
            tally.throttled,
            time.monotonic() - self._started,
        )

    @contextmanager
    def of(self, stream: str, total: int | None) -> Iterator[Part]:
        """Report about a stream, see `Part`; leaves a terminal as it was."""
        part = Part(stream, total)
        self._parts.append(part)
        with ExitStack() as stack:
            if sys.stderr.isatty():
                # Not worth its import time where no terminal is.
                from tqdm import tqdm  # noqa: PLC0415
                from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

                stack.enter_context(logging_redirect_tqdm())
                unit = " records" if total is None else " Ids"
                bar = tqdm(total=total, desc=stream, unit=unit, file=sys.stderr)
                self._bar = stack.enter_context(bar)
            try:
                yield part
            finally:
                self._bar = None

    def advance(self, *, emitted: bool) -> None:
        """One more Id or record of the stream is dealt with."""
        part = self._parts[-1]
        part.done += 1
        part.emitted += emitted
        if self._bar is not None:
            self._bar.update()

    def tick(self) -> None:
        """Report, if the last report is ten seconds old."""
        now = time.monotonic()
        if now - self._reported < EVERY_SECONDS:
            return
        self._reported = now
        if self._bar is None:
            logger.info("%s", self._line(now))
        else:
            tally = self._connection.tally
            self._bar.set_postfix(calls=tally.calls, throttled=tally.throttled)

    def _line(self, now: float) -> str:
        tally, waited = self._connection.tally, self._connection.throttle.waited
        part = self._parts[-1]
        line = (
            f"{part.stream}: {part.read()}, {tally.calls} calls, {tally.retries} of them tried "
            f"again, {tally.throttled} throttled, {waited:.0f} s waited for the throttle by all "
            "threads"
        )
        left = part.seconds_left(now)
        return line if left is None else f"{line}, about {left:.0f} s left"
