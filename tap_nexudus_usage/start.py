"""How a process starts: most of that is imports."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def open_streams() -> None:
    """Open what the caller has closed of stdout and stderr, for Python then has nothing there.

    What is logged gets lost; what is written fails, as it should: nobody gets the messages.
    """
    if not sys.stdout:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", closefd=False)
    if not sys.stderr:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)


@contextmanager
def imports() -> Iterator[None]:
    """What is imported within it is left alone by the garbage collector for good.

    Modules stay to the end. To look through the SDK's for garbage, as they grow, now and then
    later, and twice when the process ends, would take a quarter of the time of a short run.
    """
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        # Where nothing was left to import, what is there isn't modules, but a longer process's.
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()
