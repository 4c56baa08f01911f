"""Runs a command, its output into files, and prints what it took as JSON.

A process of its own because of the peak memory: a child's `ru_maxrss` begins with the size that its
parent has at the time, after posix_spawn and vfork as after fork (Linux's exec keeps the peak of
the memory it replaces). The bench, which holds whole ledgers, would show through in every figure.
This parent is smaller than any contender, so it doesn't: hence no imports beyond these.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    """Run the command after the paths for its stdout and stderr."""
    stdout, stderr, *command = sys.argv[1:]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_OPEN, 1, stdout, flags, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, stderr, flags, 0o600),
    ]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=files)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    # In KiB, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    took = {
        "code": os.waitstatus_to_exitcode(status),
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * unit / 2**20,
    }
    print(json.dumps(took))
    return 0


if __name__ == "__main__":
    sys.exit(main())
