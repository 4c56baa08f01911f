"""Whoever writes is told where stdout takes no more."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from tap_nexudus_usage.errors import OutputError
from tap_nexudus_usage.lines import Lines


def test_each_one_who_writes_is_told_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    lines = Lines()
    with os.fdopen(write_end, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=pipe, flush=pipe.flush))
        # The first may be a line of the log, which has to go on.
        for line in (b"of the log\n", b"a record\n", b"a state\n"):
            lines.write(line)
            with pytest.raises(OutputError, match="stopped reading"):
                lines.flush()
