"""A PostgreSQL server of the tests' own, on a loopback port."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest


def commands() -> Path | None:
    """The folder of PostgreSQL's commands; Debian keeps the server's out of the PATH."""
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *map(Path, os.get_exec_path())]
    needed = ("initdb", "postgres", "psql")
    return next((f for f in folders if all((f / name).exists() for name in needed)), None)


@dataclass
class Postgres:
    """A server that is running."""

    bin: Path
    port: int

    def query(self, sql: str) -> list[str]:
        server = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        finished = subprocess.run(
            [str(self.bin / "psql"), *server, "-At", "-v", "ON_ERROR_STOP=1", "-c", sql],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return finished.stdout.splitlines()


@contextlib.contextmanager
def serve() -> Iterator[Postgres]:
    """Serve an empty database; where PostgreSQL isn't installed, only CI insists."""
    bin_folder = commands()
    if bin_folder is None:
        message = "PostgreSQL's server isn't installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(message)
        pytest.skip(message)
    # The server refuses to run as root, and another user can't get into pytest's own folders:
    # each session of pytest on the machine closes them again.
    owner = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        if owner is not None:
            shutil.chown(folder, owner)
        run = partial(subprocess.run, check=True, cwd=folder, timeout=60, user=owner)
        data = folder / "data"
        initdb = [bin_folder / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"]
        run(initdb, stdout=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [bin_folder / "postgres", "-D", data, "-p", str(port), *options],
                cwd=folder,
                user=owner,
                stderr=log,
            ) as server,
        ):
            try:
                wait_for(server, port, folder / "log")
                yield Postgres(bin_folder, port)
            finally:
                # An immediate shutdown, in PostgreSQL's terms: there is nothing to keep.
                server.send_signal(signal.SIGQUIT)


def wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server takes connections."""
    deadline = time.monotonic() + 60.0
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10):
            return
        time.sleep(0.05)
    pytest.fail(f"PostgreSQL doesn't start: {log.read_text(encoding='utf-8')}")
