"""Whatever log is configured, what has to be heard is heard, and stdout is for messages only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Bench, run_tap, run_tap_with
from outcomes import Finished

# As Meltano 4.1 writes it, which names no logger: those that exist are disabled by default.
MELTANO: dict[str, Any] = {
    "version": 1,
    "formatters": {"structured": {"()": "singer_sdk.logging.StructuredFormatter"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "structured",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
}
PLAIN = {**MELTANO, "handlers": {"console": {"class": "logging.StreamHandler"}}}
NOWHERE = {"version": 1, "root": {"handlers": []}}
INTO_A_FILE = {
    "version": 1,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "tap.log"}},
    "root": {"handlers": ["file"], "level": "INFO"},
}
OWN_HANDLER = {
    "version": 1,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "tap.log"}},
    "loggers": {
        "tap_nexudus_usage": {"handlers": ["file"], "level": "INFO", "propagate": False},
    },
}
NO_ROOT = {"version": 1}
ERRORS_ONLY = {**PLAIN, "root": {"handlers": ["console"], "level": "ERROR"}}
WITH_A_LOGGER_NAMED = {**PLAIN, "loggers": {"urllib3": {"level": "DEBUG"}}}
BUFFERED = {
    "version": 1,
    "handlers": {
        "console": {"class": "logging.StreamHandler"},
        "memory": {
            "class": "logging.handlers.MemoryHandler",
            "capacity": 1_000,
            "target": "console",
        },
    },
    "root": {"handlers": ["memory"], "level": "INFO"},
}
CONFIGS = {
    "meltano": MELTANO,
    "plain": PLAIN,
    "nowhere": NOWHERE,
    "into a file": INTO_A_FILE,
    "own handler": OWN_HANDLER,
    "no root": NO_ROOT,
    "errors only": ERRORS_ONLY,
    "with a logger named": WITH_A_LOGGER_NAMED,
    "buffered": BUFFERED,
}
TALKATIVE = [name for name in CONFIGS if name not in {"nowhere", "errors only", "buffered"}]


def environment(config: Any) -> dict[str, str]:
    text = config if isinstance(config, str) else yaml.safe_dump(config)
    Path("logging.yml").write_text(text, encoding="utf-8")
    return {**os.environ, "SINGER_SDK_LOG_CONFIG": "logging.yml"}


def assert_told(finished: Finished, *parts: str) -> None:
    assert finished.code == 1
    assert "bug" not in finished.last_line
    assert "Traceback" not in finished.stderr
    for part in parts:
        assert part in finished.last_line


@pytest.mark.crossing
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("flag", [None, False])
def test_the_last_line_is_heard_under_any_configuration(
    bench: Bench, name: str, *, flag: bool | None
) -> None:
    config = CONFIGS[name] if flag is None else {**CONFIGS[name], "disable_existing_loggers": flag}

    finished = run_tap_with(bench.settings(password="wrong"), env=environment(config))

    assert_told(finished, "Login failed", "username and password")
    for text in (finished.stderr, Path("tap.log").read_text() if Path("tap.log").exists() else ""):
        assert bench.world.user.username not in text


@pytest.mark.parametrize("name", TALKATIVE)
def test_warnings_are_heard_under_any_configuration(bench: Bench, name: str) -> None:
    config = bench.settings(record_ids=[*bench.ledger, 5])

    finished = run_tap_with(config, env=environment(CONFIGS[name]))

    log = Path("tap.log")
    heard = finished.stderr + (log.read_text(encoding="utf-8") if log.exists() else "")
    assert finished.code == 0
    assert len(finished.run.ids) == 20
    assert (
        "Not in Nexudus, or not visible to this user: CoworkerExtraServiceUseHistory Ids 5" in heard
    )
    assert "20 records emitted" in heard


def test_metrics_and_the_sdk_are_heard(bench: Bench) -> None:
    stderr = run_tap_with(bench.settings(), env=environment(MELTANO)).stderr

    messages = [json.loads(line)["message"] for line in stderr.splitlines()[-20:]]
    assert any("Beginning sync of" in message for message in messages)
    assert "METRIC" in messages


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_counts_as_not_set(bench: Bench, value: str) -> None:
    env = {**os.environ, "SINGER_SDK_LOG_CONFIG": value}

    finished = run_tap_with(bench.settings(), env=env)

    assert finished.code == 0
    assert "20 records emitted" in finished.stderr


def test_a_file_that_does_not_exist_is_told_and_done_without(bench: Bench) -> None:
    env = {**os.environ, "SINGER_SDK_LOG_CONFIG": "nowhere.yml"}

    finished = run_tap_with(bench.settings(), env=env)

    assert finished.code == 0
    assert "Logging config file not found: nowhere.yml" in finished.stderr


FORMATTER = {"class": "logging.StreamHandler", "formatter": "f"}


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("", []),
        ("{", []),
        ("- a\n- b\n", []),
        ("\x00", []),
        ("{}", ["version"]),
        ({**PLAIN, "version": 2}, ["version"]),
        ({**PLAIN, "root": {"handlers": ["nope"]}}, ["nope"]),
        ({**PLAIN, "handlers": {"console": {"class": "no.such.Handler"}}}, ["console", "no"]),
        ({**PLAIN, "root": {"level": "LOUD"}}, ["root", "LOUD"]),
        ({**PLAIN, "handlers": {"console": {**FORMATTER}}}, ["console", "f"]),
        (
            {
                **PLAIN,
                "formatters": {"f": {"format": "%(nope)s"}},
                "handlers": {"console": FORMATTER},
            },
            ["console", "nope"],
        ),
        (
            {
                **PLAIN,
                "handlers": {"x": {"class": "logging.FileHandler", "filename": "no/such/file"}},
            },
            ["x", "no/such/file"],
        ),
        (
            {
                **PLAIN,
                "handlers": {
                    "console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
                },
            },
            ["stdout"],
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(
    bench: Bench, config: Any, parts: list[str]
) -> None:
    finished = run_tap_with(bench.settings(), env=environment(config))

    assert_told(finished, "SINGER_SDK_LOG_CONFIG", "logging.yml", *parts)
    assert finished.stdout == ""
    assert bench.count_calls() == 0


def test_a_configuration_that_is_a_folder_is_named(bench: Bench) -> None:
    Path("folder").mkdir()
    env = {**os.environ, "SINGER_SDK_LOG_CONFIG": "folder"}

    assert_told(run_tap_with(bench.settings(), env=env), "SINGER_SDK_LOG_CONFIG", "folder")


@pytest.mark.parametrize("variable", ["LOGLEVEL", "TAP_NEXUDUS_USAGE_LOGLEVEL"])
def test_a_wrong_level_is_told_whatever_is_configured(variable: str) -> None:
    env = {**environment(PLAIN), variable: "LOUD"}

    assert_told(run_tap("--version", env=env), "LOGLEVEL is wrong", "LOUD")
