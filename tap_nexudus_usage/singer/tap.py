"""The tap: its settings, its stream, and what it does otherwise than the SDK."""

from __future__ import annotations

import logging
import os
import signal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TextIO, cast

import click
import msgspec
from singer_sdk import Tap
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import TapCapabilities
from singer_sdk.plugin_base import JSONSchemaValidator, _ConfigInput
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import Self, override

from tap_nexudus_usage.emission.emitted import STATE_KEYS
from tap_nexudus_usage.errors import SettingsError, Terminated
from tap_nexudus_usage.logs import RedactingFilter, add_filter
from tap_nexudus_usage.nexudus.connection import connect
from tap_nexudus_usage.reading.connection_test import check
from tap_nexudus_usage.redaction import Redactor
from tap_nexudus_usage.settings.checked import Settings, from_config
from tap_nexudus_usage.settings.declared import PROPERTIES, json_schema
from tap_nexudus_usage.settings.tidying import describe, tidy
from tap_nexudus_usage.singer import batches, catalogs, json_files, maps
from tap_nexudus_usage.singer.stream import UsageStream
from tap_nexudus_usage.singer.writer import BufferedWriter, ComparingStateWriter

if TYPE_CHECKING:
    from types import FrameType

    from singer_sdk.helpers.capabilities import CapabilitiesEnum

logger = logging.getLogger(__name__)


class TapNexudusUsage(Tap):
    """Singer tap for Nexudus's ledger of consumed extra-service credits."""

    name = "tap-nexudus-usage"
    config_jsonschema = json_schema()
    message_writer_class = BufferedWriter
    capabilities: ClassVar[list[CapabilitiesEnum]] = [*Tap.capabilities, TapCapabilities.TEST]

    clock_speed: ClassVar[float] = 1.0
    """How fast the throttle's time runs; the tests' taps raise it with the sandbox's."""

    def __init__(self, *, catalog: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Take the arguments of `singer_sdk.Tap`; raises SettingsError."""
        self.redactor = Redactor()
        self._terminated_by: int | None = None
        self._given_catalog = catalog
        super().__init__(**kwargs)
        self._state_writer = self._comparing_state_writer = ComparingStateWriter(self.writer)

    @property
    def writer(self) -> BufferedWriter:
        """What writes all messages."""
        return cast("BufferedWriter", self.message_writer)

    def write_next_state(self) -> None:
        """Write the next STATE even if it is the same as the one before."""
        self._comparing_state_writer.forget()

    @override
    def discover_streams(self) -> list[UsageStream]:
        """The one stream there is; no call is made."""
        return [UsageStream(self)]

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
        bookmarks = state.get("bookmarks", None if state else {})
        if not (
            _can_be_written(state)
            and isinstance(bookmarks, dict)
            and all(isinstance(bookmark, dict) for bookmark in bookmarks.values())
        ):
            message = "The state can't be understood; restore it, or start over without one"
            raise SettingsError(message)
        # What other taps leave there, partitions and so on, the SDK would look into.
        bookmark = bookmarks.get(UsageStream.name, {})
        for name in bookmark.keys() - STATE_KEYS:
            del bookmark[name]
        super().load_state(state)

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
        properties = self.config_jsonschema["properties"]
        self._config = tidy(self._config, properties)
        validator = JSONSchemaValidator(self.config_jsonschema)
        # `Settings` looks at the Ids themselves, of which there may be many; `maps` at the maps.
        aside = {
            name: value
            for name, value in self._config.items()
            if name == "stream_maps" or (name == "record_ids" and isinstance(value, list))
        }
        for name in aside:
            del self._config[name]
        # Besides, this puts the defaults into the config.
        errors = sorted(describe(error) for error in validator.iter_errors(self._config))
        self._config |= aside
        if raise_errors:
            if errors:
                raise SettingsError("; ".join(errors))
            _ = self.settings
            if batch_config := self._config.get("batch_config"):
                batches.check(batch_config)
            for name in sorted(self._config.keys() - properties):
                logger.warning("There is no setting %.100r; it is ignored", name)
        return errors

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - as in the SDK
        """The settings in environment variables.

        Ours stay text, which `tidy` reads; the SDK's reading fails on `1,2` and `1.5`. Its own
        settings are read by it, one by one so that an error can name the variable.
        """
        cls.append_builtin_config(cls.config_jsonschema)
        config: dict[str, Any] = {}
        for name, schema in cls.config_jsonschema["properties"].items():
            variable = f"{cls._env_var_prefix}{name.upper()}"
            as_text = {"type": ["string"]} if name in PROPERTIES else schema
            try:
                config |= parse_environment_config(
                    {"properties": {name: as_text}}, cls._env_var_prefix
                )
            except ValueError:
                message = f"Environment variable {variable} must hold valid JSON"
                raise SettingsError(message) from None
        return config

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
            signal.signal(signum, tap.terminate)
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
        tap = cls._make(ctx.params.get("config"))
        with connect(
            tap.settings.connection,
            clock_speed=tap.clock_speed,
            redactor=tap.redactor,
            on_answer=lambda *_: None,
        ) as connection:
            for line in check(connection, tap.settings):
                logger.info("%s", line)
        ctx.exit()

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
        try:
            return super().cb_config(ctx, param, value)
        except OSError as error:
            message = f"The config file can't be read: {error.strerror or error}"
            raise SettingsError(message) from error
        except (ValueError, TypeError, RecursionError) as error:
            message = "The config file must hold a JSON object"
            raise SettingsError(message) from error

    # Signals. The SDK's handler writes STATE in the middle of whatever is being written, then exits
    # 0 as if all had been read; it is also installed by every instance, even in another's process.

    @override
    def _setup_signal_handlers(self) -> None:
        """Leave the process's signals alone; `invoke` sets them."""

    def terminate(self, signum: int, _: FrameType | None = None) -> None:
        """Ask the run to end; the second time, end the process."""
        if self._terminated_by is not None:
            os._exit(128 + signum)
        self._terminated_by = signum

    def raise_if_terminated(self) -> None:
        """Raise Terminated where a signal has asked for the end."""
        if self._terminated_by is not None:
            raise Terminated(self._terminated_by)


def _can_be_written(state: Any) -> bool:
    """Whether a state can be passed on, as it is with the first message: it may be no Unicode."""
    try:
        msgspec.json.encode(state)
    except (UnicodeEncodeError, RecursionError):
        return False
    return True
