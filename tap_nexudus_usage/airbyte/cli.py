"""The command `source-nexudus-usage`: spec, check, discover and read."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from typing_extensions import override

from tap_nexudus_usage.airbyte import spec
from tap_nexudus_usage.airbyte.messages import Messages
from tap_nexudus_usage.errors import OutputError, SettingsError, TapError, Terminated
from tap_nexudus_usage.redaction import Redactor
from tap_nexudus_usage.settings.declared import PROPERTIES
from tap_nexudus_usage.start import imports, open_streams
from tap_nexudus_usage.termination import SIGNALS, die_of

if TYPE_CHECKING:
    from tap_nexudus_usage.run.surroundings import Surroundings
    from tap_nexudus_usage.termination import Termination

GRACE = 3.0
"""Seconds that the end by a signal may take; PyAirbyte kills after ten."""

NAME = "source-nexudus-usage"

_CONFIG = {"config": ("file with the settings, as `spec` describes them", True)}

COMMANDS: Mapping[str, tuple[str, Mapping[str, tuple[str, bool]]]] = {
    "spec": ("Say which settings there are.", {}),
    "check": ("Say whether the ledger can be read, and what this tenant is like.", _CONFIG),
    "discover": ("Say which streams there are.", _CONFIG),
    "read": (
        "Read the streams of a configured catalog.",
        {
            **_CONFIG,
            "catalog": ("file with the streams to read, and how: a configured catalog", True),
            "state": ("file with the states that the last read wrote; none: read all", False),
        },
    ),
}
"""What each command is for, and of its files what they hold and whether they are needed."""


def main(args: Sequence[str] | None = None, *, clock_speed: float = 1.0) -> int:
    """Run the command line `args` (None: the process's) and return the exit code.

    What goes wrong is an error trace, or what the command answers by; `clock_speed` is that of the
    throttle's time.
    """
    open_streams()
    for signum in SIGNALS:
        # Their defaults don't end the first process of a container. `read` replaces these.
        signal.signal(signum, lambda number, _: die_of(number))
    redactor = Redactor()
    messages = Messages(redactor)
    try:
        return Command(messages, redactor, _parse(args), clock_speed).run()
    except OutputError as error:
        # The interpreter, at its end, would fail to write what is left in its own buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(error, file=sys.stderr)  # noqa: T201 - there is nowhere else to say it
        return 1


class Command:
    """A command under way."""

    def __init__(
        self,
        messages: Messages,
        redactor: Redactor,
        args: argparse.Namespace,
        clock_speed: float,
    ) -> None:
        """Nothing is read yet."""
        self._messages = messages
        self._redactor = redactor
        self._args = args
        self._clock_speed = clock_speed

    def run(self) -> int:
        """Answer; raises OutputError."""
        if self._args.error:
            return self._fail(SettingsError(self._args.error))
        if self._args.command == "spec":
            self._messages.spec(spec.spec())
            return 0
        try:
            commands = {"check": self._check, "discover": self._discover, "read": self._read}
            return commands[self._args.command]()
        except OutputError:
            raise
        except (Exception, Terminated) as error:  # noqa: BLE001 - told as a message
            return self._fail(error)

    def _fail(self, error: BaseException) -> int:
        from tap_nexudus_usage.airbyte import failures  # noqa: PLC0415 - as below

        told = failures.trace(error)
        self._messages.error(told)
        if isinstance(error, Terminated):
            die_of(error.exit_code - 128)
        return 1

    def _check(self) -> int:
        # Imported where needed: `spec` and `discover`, which do without, are asked often.
        from tap_nexudus_usage.airbyte import failures  # noqa: PLC0415
        from tap_nexudus_usage.nexudus.entities import LEDGER  # noqa: PLC0415
        from tap_nexudus_usage.run.connection_test import check  # noqa: PLC0415

        try:
            surroundings = self._surroundings()
            with surroundings.connect(on_answer=lambda *_: None) as connection:
                lines = []
                for line in check(connection, surroundings.settings, [LEDGER]):
                    self._messages.log("INFO", line)
                    lines.append(line)
        except TapError as error:
            if failures.failure_type(error) != "config_error":
                raise
            self._messages.connection_status("FAILED", failures.trace(error)["message"])
            return 0
        self._messages.connection_status("SUCCEEDED", "\n".join(lines))
        return 0

    def _discover(self) -> int:
        from tap_nexudus_usage.airbyte.streams import discovered  # noqa: PLC0415

        self._messages.catalog(discovered())
        return 0

    def _read(self) -> int:
        with imports():
            from tap_nexudus_usage.airbyte.reading import StreamRead, read  # noqa: PLC0415
            from tap_nexudus_usage.airbyte.states import understood  # noqa: PLC0415
            from tap_nexudus_usage.airbyte.streams import configured  # noqa: PLC0415
            from tap_nexudus_usage.run.run import running  # noqa: PLC0415
            from tap_nexudus_usage.termination import Termination  # noqa: PLC0415

        termination = Termination(GRACE)
        for signum in SIGNALS:
            signal.signal(signum, termination)
        streams = configured(_json(self._args.catalog, "catalog"))
        states = understood(_json(self._args.state, "state")) if self._args.state else {}
        reads = [
            StreamRead(self._messages, stream, states.get(stream.entity.stream, {}))
            for stream in streams
        ]

        def on_poll() -> None:
            for one in reads:
                one.keep_alive()
            self._messages.flush()

        surroundings = self._surroundings(termination, on_poll)
        replaced = [stream.entity for stream in streams if stream.is_full]
        with running(surroundings, [stream.entity for stream in streams], replaced) as run:
            is_good = read(run, reads)
        self._messages.flush()
        return 0 if is_good else 1

    def _surroundings(
        self, termination: Termination | None = None, on_poll: Any = None
    ) -> Surroundings:
        from dataclasses import replace  # noqa: PLC0415
        from importlib.metadata import version  # noqa: PLC0415

        from tap_nexudus_usage.airbyte import log  # noqa: PLC0415
        from tap_nexudus_usage.run.surroundings import Surroundings  # noqa: PLC0415
        from tap_nexudus_usage.settings.loading import load, warn_of_unknown  # noqa: PLC0415
        from tap_nexudus_usage.termination import Termination  # noqa: PLC0415

        is_debug = self._args.debug or os.environ.get("LOG_LEVEL", "").casefold() == "debug"
        log.set_up(self._messages, self._redactor, "DEBUG" if is_debug else "INFO")
        config = _json(self._args.config, "config")
        if not isinstance(config, dict):
            message = "The config file must hold a JSON object"
            raise SettingsError(message)
        flat = spec.flattened(config)
        secrets = (flat.get(name) for name in PROPERTIES if PROPERTIES[name].get("secret"))
        self._redactor.add(*(secret for secret in secrets if isinstance(secret, str)))
        agent = f"tap-nexudus-usage/{version('tap-nexudus-usage')}"
        settings = load(flat, default_user_agent=agent)
        warn_of_unknown(flat, spec.NAMES)
        # Destinations keep the older of two versions of a record that come in one run.
        settings = replace(settings, rules=replace(settings.rules, one_version=True))
        return Surroundings(
            settings=settings,
            redactor=self._redactor,
            termination=termination or Termination(),
            flush=on_poll or self._messages.flush,
            clock_speed=self._clock_speed,
            on_rotated=lambda token: self._messages.config(spec.with_refresh_token(config, token)),
        )


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong instead of writing it to stderr, which nobody reads."""

    @override
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog=NAME, description="Airbyte source for Nexudus's ledger of credits used.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (help_text, files) in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("--debug", action="store_true", help="log more")
        for file, (what, is_needed) in files.items():
            command.add_argument(f"--{file}", type=Path, required=is_needed, help=what)
    parser.set_defaults(error=None)
    try:
        return parser.parse_args(args)
    except SettingsError as error:
        return argparse.Namespace(error=f"{error}. See {NAME} --help")


def _json(path: Path, what: str) -> Any:
    """What a file holds, None where it is empty; raises SettingsError, which quotes nothing."""
    try:
        content = path.read_text(encoding="utf-8-sig")
        return json.loads(content) if content.strip() else None
    except OSError as error:
        message = f"The {what} file can't be read: {error.strerror}"
        raise SettingsError(message) from error
    except (ValueError, RecursionError) as error:
        message = f"The {what} file must hold JSON"
        raise SettingsError(message) from error


if __name__ == "__main__":
    sys.exit(main())
