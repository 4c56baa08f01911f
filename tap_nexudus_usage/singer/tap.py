"""The tap: its streams, its command line, and what it does otherwise than the SDK."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TextIO, cast

import click
from singer_sdk import Tap
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import TapCapabilities
from singer_sdk.plugin_base import _ConfigInput
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import Self, override

from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.logs import RedactingFilter, add_filter
from tap_nexudus_usage.nexudus import entities
from tap_nexudus_usage.redaction import Redactor
from tap_nexudus_usage.run.run import Run, running
from tap_nexudus_usage.run.surroundings import Surroundings
from tap_nexudus_usage.settings.checked import Settings, from_config
from tap_nexudus_usage.settings.declared import json_schema
from tap_nexudus_usage.settings.loading import warn_of_unknown
from tap_nexudus_usage.singer import catalogs, configuration, given_state, json_files, maps
from tap_nexudus_usage.singer.stream import EntityStream
from tap_nexudus_usage.singer.writer import BufferedWriter
from tap_nexudus_usage.termination import Termination

if TYPE_CHECKING:
    from singer_sdk.helpers.capabilities import CapabilitiesEnum

logger = logging.getLogger(__name__)


class TapNexudusUsage(Tap):
    """Singer tap for Nexudus's ledger of consumed extra-service credits, and the allowances."""

    name = "tap-nexudus-usage"
    config_jsonschema = json_schema()
    message_writer_class = BufferedWriter
    capabilities: ClassVar[list[CapabilitiesEnum]] = [*Tap.capabilities, TapCapabilities.TEST]

    clock_speed: ClassVar[float] = 1.0
    """How fast the throttle's time runs; the tests' taps raise it with the sandbox's."""

    def __init__(self, *, catalog: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Take the arguments of `singer_sdk.Tap`; raises SettingsError."""
        self.redactor = Redactor()
        self.termination = Termination()
        self._given_catalog = catalog
        self._run: Run | None = None
        super().__init__(**kwargs)
        self._state_writer = self.writer.states

    @property
    def writer(self) -> BufferedWriter:
        """What writes all messages."""
        return cast("BufferedWriter", self.message_writer)

    @override
    def discover_streams(self) -> list[EntityStream]:
        """A stream for each entity; no call is made."""
        return [
            EntityStream(self, entity, self._run_with, self.writer) for entity in entities.ENTITIES
        ]

    @override  # type: ignore[misc]
    def sync_all(self) -> None:
        """Sync all that is selected, over one connection; raises TapError, Terminated.

        Overridden although it is final, because the SDK's ends with the first stream that fails:
        the others are read here, and what failed is told at the end.
        """
        streams = cast("dict[str, EntityStream]", self.streams).values()
        with self._run_with(*streams):
            super().sync_all()

    @contextmanager
    def _run_with(self, *streams: EntityStream) -> Iterator[Run]:
        """The run under way; else one of those `streams` that are selected.

        That is for the SDK's own tests, which sync a stream alone.
        """
        if self._run is not None:
            yield self._run
            return
        selected = [stream for stream in streams if stream.selected]
        replaced = [stream.entity for stream in selected if stream.replaces_table]
        with running(self._surroundings, [s.entity for s in selected], replaced) as run:
            self._run = run
            try:
                yield run
            finally:
                self._run = None

    @cached_property
    def _surroundings(self) -> Surroundings:
        return Surroundings(
            settings=self.settings,
            redactor=self.redactor,
            termination=self.termination,
            flush=self.writer.flush,
            clock_speed=self.clock_speed,
        )

    @override
    def setup_mapper(self) -> None:
        """Set up the stream maps, for the catalog as we understand it; raises SettingsError.

        A stream of which they leave nothing isn't read: the SDK reads it, drops every record, and
        covers all of them by its state.
        """
        if self._given_catalog is not None:
            self._input_catalog = catalogs.complete(self._given_catalog, self.discover_streams())
        maps.check(self.config.get("stream_maps", {}), self.streams)
        try:
            super().setup_mapper()
        except Exception as error:
            raise maps.in_words(error) from error
        selected = [stream for stream in self.streams.values() if stream.selected]
        for stream in selected:
            if maps.removes(stream.stream_maps):
                stream.selected = False
            elif self._may_write_tombstones:
                maps.try_tombstone(self.config.get("stream_maps", {}), stream)
        if not any(stream.selected for stream in selected):
            message = "Setting stream_maps removes all that is selected, so nothing would be read"
            raise SettingsError(message)

    @property
    def _may_write_tombstones(self) -> bool:
        return self.config.get("on_missing_record") == "tombstone" and bool(
            self.config.get("record_ids") or self.config.get("record_ids_file")
        )

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the state; raises SettingsError where it isn't one."""
        streams = [entity.stream for entity in entities.ENTITIES]
        super().load_state(given_state.understood(state, streams))

    @cached_property
    def settings(self) -> Settings:
        """The settings, checked; raises SettingsError."""
        return from_config(
            self.config, default_user_agent=f"{self.name}/{self.get_plugin_version()}"
        )

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the settings in our own words: the SDK's quote the values, secrets included."""
        self.append_builtin_config(self.config_jsonschema)
        self._config, errors = configuration.check(self._config, self.config_jsonschema)
        if raise_errors:
            if errors:
                raise SettingsError("; ".join(errors))
            _ = self.settings
            warn_of_unknown(self._config, self.config_jsonschema["properties"])
        return errors

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - as in the SDK
        """The settings in environment variables; raises SettingsError."""
        cls.append_builtin_config(cls.config_jsonschema)
        properties = cls.config_jsonschema["properties"]
        return configuration.from_environment(properties, cls._env_var_prefix)

    # The command line

    @classmethod
    @override
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: _ConfigInput | None = None,
        state: TextIO | None = None,
        catalog: TextIO | None = None,
    ) -> None:
        """Run a sync as the SDK does, with readable errors, redacted logs and our signals."""
        super(Tap, cls).invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        tap = cls._make(
            config,
            state=json_files.read(state, "state"),
            catalog=json_files.read(catalog, "catalog"),
        )
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, tap.termination)
        tap.sync_all()

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Test the connection; the SDK's test is green wherever no record comes.

        `--test=schema` is the SDK's. Raises the TapError of what doesn't work.
        """
        if value != CliTestOptionValue.All.value:
            super().cb_test(ctx, param, value)
            return
        catalog = json_files.read(ctx.params.get("catalog"), "catalog")
        # Not needed, but a state that can't be read would fail the run, too.
        json_files.read(ctx.params.get("state"), "state")
        tap = cls._make(ctx.params.get("config"), catalog=catalog)
        tap._test_connection()  # noqa: SLF001 - its own
        ctx.exit()

    def _test_connection(self) -> None:
        # As late as this: a sync has no use for it.
        from tap_nexudus_usage.run.connection_test import check  # noqa: PLC0415

        selected = [entity for entity in entities.ENTITIES if self.streams[entity.stream].selected]
        if self.settings.record_ids:
            naming = {entity.named_by.entity for entity in selected if entity.named_by}
            selected = [e for e in entities.ENTITIES if e in {*selected, *naming}]
        with self._surroundings.connect(on_answer=lambda *_: None) as connection:
            for line in check(connection, self.settings, selected):
                logger.info("%s", line)

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        """The command line; `--test` asks the catalog which streams are selected."""
        command = super().get_singer_command()
        for option in command.params:
            # Else they aren't known yet where they come behind `--test`.
            option.is_eager |= option.name in {"catalog", "state"}
            if option.name == "test" and isinstance(option, click.Option):
                option.help = "Say, in at most 15 calls, what works and what this tenant is like."
        return command

    @classmethod
    def _make(cls, config: _ConfigInput | None, **kwargs: Any) -> Self:
        config = config or _ConfigInput()
        tap = cls(config=config.config, parse_env_config=config.parse_env, **kwargs)
        add_filter(RedactingFilter(tap.redactor))
        return tap

    @classmethod
    @override
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        """Read the config files; raises SettingsError."""
        with configuration.readable_errors():
            return super().cb_config(ctx, param, value)

    # Signals. The SDK's handler writes STATE in the middle of whatever is being written, then exits
    # 0 as if all had been read; it is also installed by every instance, even in another's process.

    @override
    def _setup_signal_handlers(self) -> None:
        """Leave the process's signals alone; `invoke` sets them."""
