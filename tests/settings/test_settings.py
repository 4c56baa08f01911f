"""Settings: what is accepted, and what a refusal says."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, run_tap

from tap_nexudus_usage.errors import SettingsError
from tap_nexudus_usage.settings.checked import Settings
from tap_nexudus_usage.singer.tap import TapNexudusUsage

LOGIN = {"username": "u@example.com", "password": "p"}


def settings(**config: Any) -> Settings:
    return TapNexudusUsage(config={**LOGIN, **config}).settings


def refusal(**config: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        settings(**config)
    return str(caught.value)


def test_defaults_are_the_promised_ones() -> None:
    given = settings()

    assert given.connection.credentials.client_id == "tap-nexudus-usage"
    assert given.record_ids == ()
    assert given.lookback_hours == 26
    assert (given.rules.on_missing_record, given.rules.on_invalid_record) == ("warn", "fail")
    assert (given.batch_size, given.page_size, given.max_concurrent_requests) == (200, 1000, 4)
    assert (given.connection.requests_per_minute, given.connection.request_timeout) == (120, 60)
    assert (given.connection.max_retries, given.connection.max_throttle_wait) == (8, 3900)
    assert given.connection.api_url == "https://spaces.nexudus.com"
    assert (
        given.connection.user_agent == f"tap-nexudus-usage/{TapNexudusUsage.get_plugin_version()}"
    )


def test_no_client_id_without_a_password() -> None:
    tap = TapNexudusUsage(config={"refresh_token": "r"})

    assert tap.settings.connection.credentials.client_id is None


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ([3, 1, 3], (3, 1)),
        ("3,1,3", (3, 1)),
        (" 3, 1 ,\n3 ", (3, 1)),
        ("[3, 1]", (3, 1)),
        (["3", 1], (3, 1)),
        ("", ()),
        ([], ()),
        ([2**63 - 1], (2**63 - 1,)),
    ],
)
def test_ids_are_read_from_arrays_and_text(value: object, ids: tuple[int, ...]) -> None:
    assert settings(record_ids=value).record_ids == ids


@pytest.mark.parametrize("value", [1e2, "100", Decimal("1e2")], ids=repr)
def test_a_whole_number_may_be_written_as_json_allows(value: object) -> None:
    page_size = settings(page_size=value).page_size
    assert (page_size, type(page_size)) == (100, int)


@pytest.mark.parametrize(
    "value", ["1,x", [1, "x"], [1.5], [True], ["1.0"], [0], [-1], [2**63], "1;2", ["9" * 5_000]]
)
def test_what_is_no_id_is_told(value: object) -> None:
    assert "record_ids" in refusal(record_ids=value)


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ("3\n1\n3\n", (3, 1)),
        ("\ufeff3\r\n\r\n  1  \r\n", (3, 1)),
        ("# mine\n3\n#4\n1", (3, 1)),
        ("Id\n3\n1\n", (3, 1)),
        ('Name,"Id",Note\nRoom,3,"a, b"\n"two\nlines",1,\n', (3, 1)),
    ],
)
def test_ids_are_read_from_files(tmp_path: Path, content: str, ids: tuple[int, ...]) -> None:
    path = tmp_path / "ids.csv"
    path.write_text(content, encoding="utf-8", newline="")

    assert settings(record_ids_file=str(path)).record_ids == ids
    assert settings(record_ids_file=str(path), record_ids=[9, 1]).record_ids == (9, 1, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"3\nx\n", "line 2"),
        (b"", "no Id"),
        (b"Id\n", "no Id"),
        (b"Name,Room\na,b\n", "none is named Id"),
        (b"Name,Id\na\n", "line 2"),
        (b"Id\n10,282,669\n", "line 2"),
        (b"\xff\xfe3\x00", "can't be read"),
    ],
)
def test_a_file_that_holds_no_ids_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "ids.csv"
    path.write_bytes(content)

    message = refusal(record_ids_file=str(path))

    assert "record_ids_file" in message
    assert said in message


@pytest.mark.parametrize("path", ["missing.csv", "."])
def test_a_file_that_cannot_be_read_is_told(path: str) -> None:
    assert "can't be read" in refusal(record_ids_file=path)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"username": "u@example.com"},
        {"password": "", "refresh_token": " ", "access_token": None},
    ],
)
def test_no_login_is_told(config: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="username and password, or refresh_token, or access"):
        TapNexudusUsage(config=config)


def test_a_password_without_username_is_told() -> None:
    assert "username" in refusal(username="")


@pytest.mark.parametrize("totp_secret", ["123456", "not base32!", "ABC1"])
def test_a_totp_code_in_place_of_the_seed_is_told(totp_secret: str) -> None:
    message = refusal(totp_secret=totp_secret)

    assert "totp_secret" in message
    assert totp_secret not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 201),
        ("page_size", 1001),
        ("max_concurrent_requests", 17),
        ("requests_per_minute", -1),
        ("lookback_hours", "a day"),
        ("max_retries", 0),
        ("request_timeout", 0),
        ("on_missing_record", "ignore"),
        ("on_invalid_record", "tombstone"),
        ("start_date", "yesterday"),
        ("password", 12345678),
        ("api_url", "spaces.nexudus.com"),
        ("api_url", "http://spaces.nexudus.com"),
        ("api_url", "http://127.0.0.1.example.com"),
        ("api_url", "ftp://localhost"),
        ("api_url", "https://user:secret@example.com"),
        ("api_url", "https://[half"),
    ],
)
def test_a_setting_out_of_bounds_is_named_without_its_value(name: str, value: object) -> None:
    message = refusal(**{name: value})

    assert name in message
    if name == "password":
        assert str(value) not in message


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.2", "http://[::1]:8080/"])
def test_plain_http_is_for_loopback(url: str) -> None:
    assert settings(api_url=url).connection.api_url == url.rstrip("/")


def test_several_mistakes_are_told_at_once() -> None:
    message = refusal(batch_size=0, page_size=0)

    assert "batch_size" in message
    assert "page_size" in message


def test_an_unknown_setting_is_told(caplog: pytest.LogCaptureFixture) -> None:
    settings(record_id=[1])

    assert "record_id" in caplog.text


def test_settings_are_read_from_the_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = list(bench.ledger)[:2]
    environment = {
        "USERNAME": bench.world.user.username,
        "PASSWORD": bench.world.user.password,
        "API_URL": bench.sandbox.url,
        "RECORD_IDS": f"{first},{second}",
        "REQUESTS_PER_MINUTE": "0",
        "REQUEST_TIMEOUT": "2.5",
        "START_DATE": "",
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"TAP_NEXUDUS_USAGE_{name}", value)

    tap = TapNexudusUsage(parse_env_config=True)

    assert tap.settings.record_ids == (first, second)
    assert tap.settings.connection.request_timeout == 2.5
    tap.sync_all()
    assert bench.world.count()["many"] == 1


@pytest.mark.parametrize("folder", [".", "in/here"])
def test_a_dotenv_says_what_the_environment_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    first, second = list(bench.ledger)[:2]
    lines = {
        "PASSWORD": bench.world.user.password,
        "API_URL": bench.sandbox.url,
        "USERNAME": "another",
        "RECORD_IDS": f"{first},{second}",
    }
    text = "".join(f"TAP_NEXUDUS_USAGE_{name}='{value}'\n" for name, value in lines.items())
    Path(".env").write_text(text, encoding="utf-8")
    Path(folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    username = {"TAP_NEXUDUS_USAGE_USERNAME": bench.world.user.username}

    finished = run_tap("--config", "ENV", env={**os.environ, **username})

    assert finished.code == 0, finished.stderr
    assert finished.run.ids == [first, second]


def test_a_dotenv_may_be_written_by_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "TAP_NEXUDUS_USAGE_ACCESS_TOKEN": "t"})
    lines = "TAP_NEXUDUS_USAGE_PAGE_SIZE=7\r\nexport TAP_NEXUDUS_USAGE_BATCH_SIZE='9'\r\n"
    Path(".env").write_text(lines, encoding="utf-8-sig", newline="")

    tap = TapNexudusUsage(parse_env_config=True)

    assert (tap.settings.page_size, tap.settings.batch_size) == (7, 9)


@pytest.mark.parametrize(
    ("value", "why"), [(b"\xff", "it is no UTF-8"), (b"a\0b", "it isn't text")], ids=str
)
def test_a_dotenv_that_cannot_be_read_is_told(value: bytes, why: str) -> None:
    Path(".env").write_bytes(b"TAP_NEXUDUS_USAGE_PASSWORD=" + value + b"\n")

    finished = run_tap("--config", "ENV")

    assert finished.code == 1
    assert finished.last_line.endswith(f".env can't be read: {why}")


@pytest.mark.parametrize(
    ("name", "value"), [("RECORD_IDS", "1,x"), ("BATCH_SIZE", "many"), ("STREAM_MAPS", "{")]
)
def test_a_mistake_in_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("TAP_NEXUDUS_USAGE_ACCESS_TOKEN", "t")
    monkeypatch.setenv(f"TAP_NEXUDUS_USAGE_{name}", value)

    with pytest.raises(SettingsError, match=f"(?i){name}"):
        TapNexudusUsage(parse_env_config=True)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RECORD_ID", "RECORD_IDS"),
        ("LOOKBACK_HOUR", "LOOKBACK_HOURS"),
        ("PASWORD", "PASSWORD"),
        ("START-DATE", "START_DATE"),
        ("max_retries", "MAX_RETRIES"),
        ("LOGLEVEL", None),
        ("_SELECT", None),
        ("_BERLIN_USERNAME", None),
        ("EU_USERNAME", None),
        ("EU_RECORD_IDS_FILE", None),
        ("PIP_URL", None),
    ],
)
def test_an_environment_variable_that_is_almost_a_settings_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, meant: str | None
) -> None:
    monkeypatch.setenv("TAP_NEXUDUS_USAGE_ACCESS_TOKEN", "t")
    monkeypatch.setenv(f"TAP_NEXUDUS_USAGE_{name}", "INFO")

    TapNexudusUsage(parse_env_config=True)

    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    expected = (
        f"There is no setting for environment variable 'TAP_NEXUDUS_USAGE_{name}', it is "
        f"ignored: is TAP_NEXUDUS_USAGE_{meant} meant?"
    )
    assert told == ([expected] if meant else [])


def test_a_setting_that_there_is_not_is_told(caplog: pytest.LogCaptureFixture) -> None:
    TapNexudusUsage(config={"access_token": "t", "page_sise": 5, "flattening_enabled": False})

    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["There is no setting 'page_sise'; it is ignored"]


def test_secrets_do_not_show_in_what_settings_print_as() -> None:
    given = settings(password="hush", totp_secret="JBSWY3DPEHPK3PXP")

    assert "hush" not in repr(given)
    assert "JBSWY3DPEHPK3PXP" not in repr(given)
