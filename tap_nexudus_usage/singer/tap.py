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
from singer_sdk import typing as th
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
from tap_nexudus_usage.settings import Settings, describe, from_config, tidy
from tap_nexudus_usage.singer import json_files
from tap_nexudus_usage.singer.stream import UsageStream
from tap_nexudus_usage.singer.writer import BufferedWriter, ComparingStateWriter

if TYPE_CHECKING:
    from types import FrameType

    from singer_sdk.helpers.capabilities import CapabilitiesEnum

logger = logging.getLogger(__name__)

SETTINGS = th.PropertiesList(
    th.Property(
        "username",
        th.StringType,
        secret=True,
        title="Username",
        description="Email of the API user.",
    ),
    th.Property(
        "password",
        th.StringType,
        secret=True,
        title="Password",
        description="Password of the API user. The durable way to log in.",
    ),
    th.Property(
        "totp_secret",
        th.StringType,
        secret=True,
        title="TOTP secret",
        description=(
            "Base32 seed of the user's two-factor authentication, where that is on; the code is "
            "made from it at each login."
        ),
    ),
    th.Property(
        "refresh_token",
        th.StringType,
        secret=True,
        title="Refresh token",
        description=(
            "Alternative start without a password. It rotates in memory and can't be written back, "
            "so it serves one run."
        ),
    ),
    th.Property(
        "access_token",
        th.StringType,
        secret=True,
        title="Access token",
        description="A ready-made bearer token, used as it is.",
    ),
    th.Property(
        "client_id",
        th.StringType,
        title="Client Id",
        description=(
            "Sent as the client_id header of logins, so that they don't end another integration's "
            "refresh token. Unset: tap-nexudus-usage where a password is given, else none."
        ),
    ),
    th.Property(
        "record_ids",
        th.ArrayType(th.IntegerType),
        title="Record Ids",
        description=(
            "The Ids to read, as an array or as text with commas (environment variables). None: "
            "the whole ledger is searched."
        ),
    ),
    th.Property(
        "record_ids_file",
        th.StringType,
        title="Record Ids file",
        description=(
            "Path of a text or CSV file, one Id a line or a column Id; adds to record_ids."
        ),
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description="Ignore records whose UpdatedOn is earlier.",
    ),
    th.Property(
        "lookback_hours",
        th.IntegerType(minimum=0),
        default=26,
        title="Lookback (hours)",
        description="Search only: how far behind the bookmark to read again.",
    ),
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType,
        default=False,
        title="Emit ACTIVATE_VERSION",
        description=(
            "With full table replication: let the target delete, after a complete read, what is no "
            "longer in Nexudus."
        ),
    ),
    th.Property(
        "on_missing_record",
        th.StringType,
        allowed_values=["warn", "fail", "tombstone"],
        default="warn",
        title="On a missing record",
        description="What to do about a configured Id that the API no longer has.",
    ),
    th.Property(
        "on_invalid_record",
        th.StringType,
        allowed_values=["fail", "warn"],
        default="fail",
        title="On an invalid record",
        description="What to do about a record that breaks the schema; warn skips it.",
    ),
    th.Property(
        "batch_size",
        th.IntegerType(minimum=1, maximum=200),
        default=200,
        title="Batch size",
        description=(
            "Ids per get-many call, fewer where the URL would exceed its limit; 1 = always get one."
        ),
    ),
    th.Property(
        "page_size",
        th.IntegerType(minimum=1, maximum=1000),
        default=1000,
        title="Page size",
        description="Records per search page.",
    ),
    th.Property(
        "max_concurrent_requests",
        th.IntegerType(minimum=1, maximum=16),
        default=4,
        title="Concurrent requests",
        description="How many calls may be under way at once.",
    ),
    th.Property(
        "requests_per_minute",
        th.IntegerType(minimum=0),
        default=120,
        title="Requests per minute",
        description=(
            "Pace, together with the other published limits (one call per 100 ms, 5,000 an hour, "
            "200,000 a day); 0 switches all pacing off."
        ),
    ),
    th.Property(
        "request_timeout",
        th.NumberType(exclusive_minimum=0),
        default=60,
        title="Request timeout (seconds)",
        description="Seconds to wait for the connection, and for each part of an answer.",
    ),
    th.Property(
        "max_retries",
        th.IntegerType(minimum=1),
        default=8,
        title="Tries",
        description=(
            "Tries of one call on transient faults, with exponential backoff of at most 60 seconds."
        ),
    ),
    th.Property(
        "max_throttle_wait",
        th.NumberType(minimum=0),
        default=3900,
        title="Longest throttle wait (seconds)",
        description="Seconds that one call may wait in all when the API throttles.",
    ),
    th.Property(
        "api_url",
        th.StringType,
        default="https://spaces.nexudus.com",
        title="API address",
        description="Base address of the API; plain http only for loopback addresses.",
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User agent",
        description="Sent with each call. Unset: tap-nexudus-usage/<version>.",
    ),
)


class TapNexudusUsage(Tap):
    """Singer tap for Nexudus's ledger of consumed extra-service credits."""

    name = "tap-nexudus-usage"
    config_jsonschema = SETTINGS.to_dict()
    message_writer_class = BufferedWriter
    capabilities: ClassVar[list[CapabilitiesEnum]] = [*Tap.capabilities, TapCapabilities.TEST]

    clock_speed: ClassVar[float] = 1.0
    """How fast the throttle's time runs; the tests' taps raise it with the sandbox's."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the arguments of `singer_sdk.Tap`; raises SettingsError."""
        self.redactor = Redactor()
        self._terminated_by: int | None = None
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
        # `Settings` looks at the Ids themselves, of which there may be many.
        record_ids = self._config.get("record_ids")
        if isinstance(record_ids, list):
            self._config["record_ids"] = []
        # Besides, this puts the defaults into the config.
        errors = sorted(describe(error) for error in validator.iter_errors(self._config))
        if isinstance(record_ids, list):
            self._config["record_ids"] = record_ids
        if raise_errors:
            if errors:
                raise SettingsError("; ".join(errors))
            _ = self.settings
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
            as_text = {"type": ["string"]} if name in SETTINGS.wrapped else schema
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
            tap.settings,
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
