"""Waiting for what another thread or process does."""

from __future__ import annotations

import fcntl
import sys
import termios
import time
from collections.abc import Callable

LONGEST_WAIT = 120.0
"""Seconds, for what takes a moment on an idle machine, and may take a hundred on a busy one."""


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true; fails the test where it doesn't become so."""
    deadline = time.monotonic() + LONGEST_WAIT
    while not condition():
        assert time.monotonic() < deadline, "It didn't happen in time"
        time.sleep(0.005)


def is_full(pipe: int) -> bool:
    """Whether nothing more gets in; how much fits depends on how many pipes there are."""
    before = _bytes_in(pipe)
    time.sleep(0.3)
    return before >= 4_096 and before == _bytes_in(pipe)


def _bytes_in(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)
