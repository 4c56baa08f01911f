"""`spec`, `check` and `discover`, and what is handed over in files."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from outcomes import STREAM
from tap_server import Order, TapServer

from airbyte.conversation import CURSOR, DELETED, READ, Source, configured, discovered, say
from tap_nexudus_usage.airbyte import spec
from tap_nexudus_usage.nexudus.entities import ENTITIES, LEDGER
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import User
from tap_nexudus_usage.settings.declared import PROPERTIES

FILES = {
    "spec": [],
    "check": ["config"],
    "discover": ["config"],
    "read": ["config", "catalog", "state"],
}

SECRETS = {"password", "totp_secret", "refresh_token", "access_token"}


@pytest.fixture
def source(bench: Bench) -> Source:
    return Source(bench)


def specification() -> dict[str, Any]:
    (message,) = say(["spec"]).of("SPEC")
    found: dict[str, Any] = message["spec"]["connectionSpecification"]
    return found


def objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All schemas of objects in a schema."""
    yield schema
    for inner in (*schema.get("properties", {}).values(), *schema.get("oneOf", ())):
        if "properties" in inner or "oneOf" in inner:
            yield from objects(inner)


@pytest.mark.parametrize("command", ["spec", "check", "discover", "read"])
def test_the_help_says_what_each_option_is_for(tap_server: TapServer, command: str) -> None:
    finished = tap_server.run(Order([command, "--help"], protocol="airbyte"))

    assert finished.code == 0
    options = finished.stdout.partition("options:")[2].strip().splitlines()
    begun = [line.split() for line in options if line.lstrip().startswith("-")]
    assert [words[0] for words in begun] == ["-h,", "--debug", *(f"--{n}" for n in FILES[command])]
    # Behind the option and what stands for its value.
    assert all(len(words) > 2 for words in begun)


# spec


def test_the_spec_has_the_taps_settings_under_their_names() -> None:
    schema = specification()
    logins = schema["properties"]["credentials"]["oneOf"]
    flat = {name for name in schema["properties"] if name != "credentials"}
    in_logins = {name for way in logins for name in way["properties"]} - {"auth_type"}

    assert flat | in_logins == PROPERTIES.keys() - {"emit_activate_version_messages"}
    for name in flat:
        assert schema["properties"][name]["title"] == PROPERTIES[name]["title"]
        assert schema["properties"][name].get("default") == PROPERTIES[name].get("default")


def test_the_spec_marks_secrets_and_has_titles_orders_and_single_types() -> None:
    for schema in objects(specification()):
        properties = schema.get("properties", {})
        orders = [definition["order"] for definition in properties.values()]
        assert len(orders) == len({*orders})
        for name, definition in properties.items():
            assert isinstance(definition["type"], str)
            assert definition.get("title") or "const" in definition
            assert definition.get("description") or "const" in definition
            assert not definition.get("airbyte_secret") or definition["type"] == "string"
            if name in SECRETS:
                assert definition["airbyte_secret"]


def test_the_ways_to_log_in_are_told_apart_by_a_constant() -> None:
    ways = specification()["properties"]["credentials"]["oneOf"]

    constants = [way["properties"]["auth_type"]["const"] for way in ways]
    assert constants == ["password", "refresh_token", "access_token"]
    # What else is missing is told by us: clients quote the whole config, secrets included.
    assert all(way["required"] == ["auth_type"] for way in ways)


def test_the_spec_comes_without_the_sdk_and_what_calls_the_api() -> None:
    script = (
        "import sys; from tap_nexudus_usage.airbyte import cli; cli.main(['spec']);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    loaded = finished.stdout.splitlines()[-1]
    for name in ("singer_sdk", "requests", "jsonschema"):
        assert repr(name) not in loaded


def cpu_of_children() -> float:
    """Seconds of CPU that processes ended by now took; what else runs here doesn't count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.wide
def test_the_spec_takes_less_than_three_tenths_of_the_taps_about() -> None:
    commands = {
        "spec": ["tap_nexudus_usage.airbyte.cli", "spec"],
        "about": ["tap_nexudus_usage", "--about", "--format=json"],
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(3):
        for name, command in commands.items():
            started = cpu_of_children()
            subprocess.run(
                [sys.executable, "-m", *command], capture_output=True, check=True, timeout=60
            )
            took[name].append(cpu_of_children() - started)

    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    assert medians["spec"] < 0.3 * medians["about"], took


# check


def test_a_check_says_in_words_what_works(source: Source) -> None:
    said = source.check()

    assert said.code == 0
    (status,) = (message["connectionStatus"] for message in said.of("CONNECTION_STATUS"))
    assert status["status"] == "SUCCEEDED"
    assert "Login: allowed by password" in status["message"]
    assert "Get many: " in status["message"]
    assert said.errors == []


@pytest.mark.parametrize("way", [{"page_sise": 5}, {"emit_activate_version_messages": True}])
def test_a_setting_that_there_is_not_is_told(source: Source, way: dict[str, Any]) -> None:
    warning = f"There is no setting {next(iter(way))!r}; it is ignored"

    for said in (source.check(**way), source.read(**way)):
        assert said.code == 0
        levels = {log["log"]["message"]: log["log"]["level"] for log in said.of("LOG")}
        assert levels[warning] == "WARN"


def test_no_setting_that_there_is_is_called_another(source: Source) -> None:
    assert "There is no setting" not in source.check().logs


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"password": "not the one"}, "Login failed"),
        ({"password": None}, "No way to log in"),
        ({"api_url": "ftp://x"}, "Setting api_url"),
        ({"record_ids": ["twelve"]}, "Setting record_ids"),
        ({"batch_size": 1_000}, "Setting batch_size must be at most 200"),
        ({"password": None, "username": None, "access_token": "old"}, "check access_token"),
    ],
    ids=str,
)
def test_what_the_user_can_mend_is_a_failed_check(
    source: Source, settings: dict[str, Any], words: str
) -> None:
    said = source.check(**settings)

    assert said.code == 0
    (status,) = (message["connectionStatus"] for message in said.of("CONNECTION_STATUS"))
    assert status["status"] == "FAILED"
    assert words in status["message"]
    assert "not the one" not in str(said.messages)
    assert said.errors == []


def test_a_secret_that_is_no_unicode_is_told(source: Source) -> None:
    (message,) = source.check(password="\ud83d").of("CONNECTION_STATUS")

    expected = "Setting password must be text in valid Unicode"
    assert message["connectionStatus"]["message"] == expected


def test_a_short_secret_spoils_no_word_of_the_protocol(source: Source) -> None:
    said = source.check(password="r", api_url="http://127.0.0.1:1", max_retries=1)

    assert [error["failure_type"] for error in said.errors] == ["transient_error"]


def test_a_missing_role_is_a_failed_check(make_bench: Callable[..., Bench]) -> None:
    source = Source(make_bench(user=User(roles=frozenset())))

    (message,) = source.check().of("CONNECTION_STATUS")

    assert message["connectionStatus"]["status"] == "FAILED"
    assert LEDGER.read_role in message["connectionStatus"]["message"]


def test_what_time_can_mend_is_an_error_and_no_status(source: Source) -> None:
    source.bench.world.faults.append(Fault(status=503, times=None))

    said = source.check(max_retries=1)

    assert said.code == 1
    assert said.of("CONNECTION_STATUS") == []
    assert [error["failure_type"] for error in said.errors] == ["transient_error"]


def test_an_address_where_nobody_listens_is_named(source: Source) -> None:
    said = source.check(api_url="http://127.0.0.1:1", max_retries=1)

    assert said.code == 1
    assert "127.0.0.1" in said.errors[0]["message"]


@pytest.mark.crossing
@pytest.mark.parametrize("content", ["", "null", "[]", "7", "{", '{"credentials": 7}', "\x00"])
@pytest.mark.parametrize("command", ["check", "read"])
def test_a_config_of_any_content_is_one_clear_message(
    source: Source, content: str, command: str
) -> None:
    source.prepare()
    Path("source.json").write_text(content, encoding="utf-8")

    said = say(READ if command == "read" else ["check", "--config", "source.json"])

    told = [*said.errors, *said.of("CONNECTION_STATUS")]
    assert len(told) == 1
    assert said.stderr == ""
    assert said.code == (1 if command == "read" else 0)


def test_settings_may_stand_beside_the_login_or_without_one(source: Source) -> None:
    flat = source.bench.settings()

    assert source.run("check", config=flat).of("CONNECTION_STATUS")
    assert spec.flattened(source.config()) == flat


def test_a_refresh_token_that_has_rotated_is_handed_back_with_the_whole_config(
    source: Source,
) -> None:
    world = source.bench.world
    granted = world.tokens.grant(
        {
            "grant_type": "password",
            "username": world.user.username,
            "password": world.user.password,
        },
        None,
    )
    config = source.config(username=None, password=None, refresh_token=granted["refresh_token"])
    for command in ("check", "read"):
        source.prepare()
        Path("source.json").write_text(json.dumps(config), encoding="utf-8")
        args = READ if command == "read" else ["check", "--config", "source.json"]

        said = say(args)

        assert said.code == 0
        (control,) = said.of("CONTROL")
        new = control["control"]["connectorConfig"]["config"]
        assert new["credentials"]["refresh_token"] != config["credentials"]["refresh_token"]
        old_token = config["credentials"].pop("refresh_token")
        new_token = new["credentials"].pop("refresh_token")
        assert new == config
        first_read = next(i for i, m in enumerate(said.messages) if m["type"] == "CONTROL")
        assert not [m for m in said.messages[:first_read] if m["type"] == "RECORD"]
        assert old_token not in said.logs
        config["credentials"]["refresh_token"] = new_token


# discover


def test_both_streams_are_discovered_without_a_call() -> None:
    streams = discovered()

    assert [stream["name"] for stream in streams] == [entity.stream for entity in ENTITIES]
    for stream, entity in zip(streams, ENTITIES, strict=True):
        assert stream["supported_sync_modes"] == ["full_refresh", "incremental"]
        assert stream["source_defined_cursor"] is True
        assert stream["default_cursor_field"] == [CURSOR]
        assert stream["source_defined_primary_key"] == [["Id"]]
        assert stream["is_resumable"] is True
        properties = stream["json_schema"]["properties"]
        own = entity.schema()["properties"]
        assert properties.keys() == own.keys() - {"_sdc_deleted_at"} | {CURSOR, DELETED}
        for definition in properties.values():
            is_moment = definition.get("format") == "date-time"
            expected = "timestamp_with_timezone" if is_moment else None
            assert definition.get("airbyte_type") == expected


# catalogs and states


@pytest.mark.parametrize(
    ("catalog", "words"),
    [
        (None, "can't be understood"),
        ([], "can't be understood"),
        ({}, "can't be understood"),
        ({"streams": []}, "configures no stream"),
        ({"streams": [7]}, "can't be understood"),
        ({"streams": [{"stream": {"name": STREAM}}]}, "can't be understood"),
        ({"streams": [{"stream": {"name": "nothing"}, "sync_mode": "incremental"}]}, "'nothing'"),
        ({"streams": [{"stream": {"name": STREAM}, "sync_mode": "sometimes"}]}, "sync_mode"),
    ],
    ids=str,
)
def test_a_catalog_that_cannot_be_followed_is_one_clear_message(
    source: Source, catalog: Any, words: str
) -> None:
    source.prepare()
    Path("catalog.json").write_text(json.dumps(catalog), encoding="utf-8")

    said = say(READ)

    assert said.code == 1
    (error,) = said.errors
    assert error["failure_type"] == "config_error"
    assert words in error["message"]
    assert source.bench.count_calls() == 0


def test_a_catalog_with_no_more_than_names_selects_everything(source: Source) -> None:
    catalog = {"streams": [{"stream": {"name": STREAM}, "sync_mode": "incremental"}]}

    (row, *_) = source.read(catalog=catalog).rows()

    assert row.keys() == configured(STREAM)["streams"][0]["stream"]["json_schema"][
        "properties"
    ].keys() | {"Id"}


@pytest.mark.parametrize(
    "state", ["", "null", "[]", "{}", " \n", f'{{"bookmarks": {{"{STREAM}": []}}}}']
)
def test_no_state_is_a_beginning(source: Source, state: str) -> None:
    source.prepare()
    Path("state.json").write_text(state, encoding="utf-8")

    assert say(READ).ids() == list(source.bench.ledger)


def test_a_state_is_understood_in_whatever_shape_clients_hand_it_over(source: Source) -> None:
    (message,) = source.read().state
    stream = message["stream"]
    descriptor = {**stream["stream_descriptor"], "namespace": None}
    nulls = {"type": "STREAM", "stream": stream, "global": None, "global_": None, "data": None}
    many = {"shared_state": None, "stream_states": [{**stream, "stream_descriptor": descriptor}]}
    shapes: list[Any] = [
        [nulls],
        nulls,
        [{"type": "STATE", "state": message}],
        [{"type": "GLOBAL", "global": many}],
        [{"type": "GLOBAL", "global_": many, "global": None}],
        {"bookmarks": {STREAM: stream["stream_state"]}},
        [{"type": "LEGACY", "data": {"bookmarks": {STREAM: stream["stream_state"]}}}],
    ]
    for shape in shapes:
        said = source.read(state=shape)
        assert said.code == 0, shape
        assert said.rows() == [], shape


def test_a_singer_bookmark_can_be_carried_over(source: Source) -> None:
    by_singer = source.bench.read(record_ids=None)

    said = source.read(state=by_singer.state, record_ids=None)

    assert said.rows() == []


def test_sentinels_of_other_sources_are_ignored(source: Source) -> None:
    (message,) = source.read().state
    message["stream"]["stream_state"]["__ab_full_refresh_sync_complete"] = True
    message["stream"]["stream_state"]["__ab_no_cursor_state_message"] = True

    said = source.read(state=[message])

    assert said.rows() == []
    assert not [name for name in said.states()[-1] if name.startswith("__ab")]


@pytest.mark.parametrize(
    "state",
    [
        7,
        "text",
        [7],
        {"a": 1},
        [{"type": "STREAM", "stream": {"stream_state": {}}}],
        {"bookmarks": 7},
        {"bookmarks": {STREAM: 7}},
        {"bookmarks": {STREAM: {"emitted": 7}}},
        {"bookmarks": {STREAM: {"cursor": "x"}}},
        {"bookmarks": {STREAM: {"replication_key_value": "yesterday"}}},
    ],
    ids=str,
)
def test_a_state_that_is_none_is_refused_in_one_line(source: Source, state: Any) -> None:
    said = source.read(state=state)

    assert said.code == 1
    (error,) = said.errors
    assert "state can't be understood" in error["message"].casefold()
    assert error["failure_type"] == "config_error"
    assert said.rows() == []
