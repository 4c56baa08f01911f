"""A PostgreSQL server of the tests' own, on a loopback port."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


def commands() -> Path | None:
    """The folder of PostgreSQL's commands; Debian keeps the server's out of the PATH."""
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *map(Path, os.get_exec_path())]
    needed = ("initdb", "pg_ctl", "psql")
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
        )
        return finished.stdout.splitlines()


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Postgres]:
    """Serve from an empty folder; where PostgreSQL isn't installed, only CI insists."""
    bin_folder = commands()
    if bin_folder is None:
        message = "PostgreSQL's server isn't installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(message)
        pytest.skip(message)
    # The server refuses to run as root.
    owner = "postgres" if os.geteuid() == 0 else None
    if owner is not None:
        for part in (folder, *folder.parents[:4]):
            part.chmod(part.stat().st_mode | 0o711)
        shutil.chown(folder, owner)
    data = folder / "data"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def run(*command: str | Path) -> None:
        subprocess.run(
            command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60, user=owner
        )

    run(bin_folder / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    run(bin_folder / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield Postgres(bin_folder, port)
    finally:
        run(bin_folder / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
