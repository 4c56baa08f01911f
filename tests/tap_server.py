"""Runs the tap in processes forked from one that has imported it: they start at once.

As a script it is that process. It takes one order at a time from the socket on stdin: arguments,
environment and the like as JSON, with the child's stdout and stderr; it answers with the child's
process id, and with its exit code once it has ended, each a line.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from outcomes import Finished
from typing_extensions import Self
from waiting import LONGEST_WAIT

LONGEST_ORDER = 65_536
"""Bytes."""

STRICT = [
    "-Werror",
    # The SDK's warning, by date: what was green would turn red of itself.
    f"-Wignore:Python 3.{sys.version_info.minor} reached its end of life",
]
"""Options with which Python treats warnings as errors."""


class Drain(threading.Thread):
    """Reads a pipe to its end, or goes away after so many bytes."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__(daemon=True)
        self._read_end, self.write_end = os.pipe()
        self._most = sys.maxsize if most is None else most
        self.content = b""
        self.start()

    def run(self) -> None:
        with os.fdopen(self._read_end, "rb", buffering=0) as pipe:
            while room := min(self._most - len(self.content), 65_536):
                chunk = pipe.read(room)
                if not chunk:
                    break
                self.content += chunk

    def finish(self) -> bytes:
        """What was read, once nobody can write any more."""
        self.join(LONGEST_WAIT)
        assert not self.is_alive(), "a process that still runs holds the pipe"
        return self.content


@dataclass(frozen=True)
class Order:
    """How the tap is to be run.

    Attributes:
        protocol: by which it speaks.
        clock_speed: of the throttle's time, see TapNexudusUsage.
        state_every: records between two STATE messages; None: as always.
        most_plain: entries that the state keeps as an object; None: as always.
        largest_file: bytes; what goes beyond in a file fails, as on a full disk.
    """

    args: Sequence[str]
    protocol: Literal["singer", "airbyte"] = field(default="singer", kw_only=True)
    directory: str = field(default_factory=os.getcwd)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock_speed: float = 1.0
    state_every: int | None = None
    most_plain: int | None = None
    largest_file: int | None = None


class TapServer:
    """The process that taps are forked from, for as long as the context is entered."""

    def __enter__(self) -> Self:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(LONGEST_WAIT)
        # Calls under way when a run ends are left to their sockets.
        command = [sys.executable, *STRICT, "-Wignore::ResourceWarning", __file__]
        self._process = subprocess.Popen(command, stdin=theirs)
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait(LONGEST_WAIT)

    def run(self, order: Order) -> Finished:
        """Run the tap to its end."""
        stdout, stderr = Drain(), Drain()
        pid = self.start(order, stdout.write_end, stderr.write_end)
        os.close(stdout.write_end)
        os.close(stderr.write_end)
        if not self.has_ended(LONGEST_WAIT):
            os.kill(pid, signal.SIGKILL)
        code = self.exit_code()
        return Finished(code, stdout.finish().decode(), stderr.finish().decode())

    def start(self, order: Order, stdout: int, stderr: int) -> int:
        """Run the tap with those file descriptors; its process id. `exit_code` has to follow."""
        message = json.dumps(asdict(order)).encode()
        socket.send_fds(self._socket, [message], [stdout, stderr])
        return int(self._receive())

    def has_ended(self, seconds: float) -> bool:
        """Whether the tap ends within `seconds`."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def exit_code(self) -> int:
        """The exit code, once the tap has ended; negative where a signal ended it."""
        return int(self._receive())

    def _receive(self) -> Any:
        # One after the other: where this process is slow, two have come.
        answer = bytearray()
        while not answer.endswith(b"\n"):
            received = self._socket.recv(1)
            assert received, "the server has died"
            answer += received
        return json.loads(answer)


def serve(connection: socket.socket) -> Order | None:
    """Fork a child for each order; the order in the child, None in the server, at its end."""
    while True:
        message, fds, _, _ = socket.recv_fds(connection, LONGEST_ORDER, 2)
        if not message:
            return None
        order = Order(**json.loads(message))
        pid = os.fork()
        if pid == 0:
            for stream, fd in enumerate(fds, 1):
                os.dup2(fd, stream)
                os.close(fd)
            return order
        for fd in fds:
            os.close(fd)
        connection.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def main() -> int:
    """Serve; in a child, run the tap."""
    from tap_nexudus_usage import cli  # noqa: PLC0415 - by the script only
    from tap_nexudus_usage.airbyte import cli as airbyte  # noqa: PLC0415
    from tap_nexudus_usage.emission import packed  # noqa: PLC0415
    from tap_nexudus_usage.run import checkpoints  # noqa: PLC0415
    from tap_nexudus_usage.singer import tap  # noqa: PLC0415

    # A child gets its own handler in `cli.main`; before, an interrupt ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is imported stays as it is in all children, and their collectors leave it alone.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=0) as connection:
        order = serve(connection)
    if order is None:
        return 0
    os.chdir(order.directory)
    os.environ.clear()
    os.environ.update(order.environment)
    if order.state_every is not None:
        checkpoints.STATE_EVERY = order.state_every
    if order.most_plain is not None:
        packed.MOST_PLAIN = order.most_plain
    if order.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.largest_file, order.largest_file))
    if order.protocol == "airbyte":
        return airbyte.main(order.args, clock_speed=order.clock_speed)
    tap.TapNexudusUsage.clock_speed = order.clock_speed
    return cli.main(order.args)


if __name__ == "__main__":
    sys.exit(main())
