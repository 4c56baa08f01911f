"""The command line as a process: exit codes, the last line, and nothing that leaks."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, run_tap, run_tap_with
from outcomes import STREAM, Finished

from tap_nexudus_usage.nexudus.entities import ALLOWANCES
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import User

FULL = pytest.param(
    ">/dev/full",
    marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="Only Linux has it"),
)

TOTP_SECRET = "JBSWY3DPEHPK3PXP"


def assert_told(finished: Finished, *parts: str) -> None:
    assert finished.code == 1
    assert "Traceback" not in finished.stderr
    assert "CRITICAL" in finished.last_line
    for part in parts:
        assert part in finished.last_line


def test_version_about_and_help_need_no_settings() -> None:
    assert re.fullmatch(r"tap-nexudus-usage v\S+, Meltano SDK v\S+\n", run_tap("--version").stdout)
    about = json.loads(run_tap("--about", "--format=json").stdout)
    assert {"test", "state", "catalog", "discover", "batch"} <= set(about["capabilities"])
    assert run_tap("--help").code == 0


def test_discovery_needs_no_settings() -> None:
    finished = run_tap("--discover")

    streams = json.loads(finished.stdout)["streams"]
    assert finished.code == 0
    assert [stream["tap_stream_id"] for stream in streams] == [STREAM, ALLOWANCES.stream]
    for stream in streams:
        assert stream["key_properties"] == ["Id"]
        assert stream["replication_key"] == "UpdatedOn"


def test_a_wrong_password_is_told(bench: Bench) -> None:
    finished = run_tap_with(bench.settings(password="not the one"))

    assert_told(finished, "Login failed", "400", "username and password")


def test_a_wrong_totp_seed_is_told(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(user=User(totp_secret=TOTP_SECRET))

    finished = run_tap_with(bench.settings(totp_secret="GEZDGNBVGY3TQOJQ"))

    assert_told(finished, "Login failed", "totp_secret")


def test_a_missing_totp_seed_is_told(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(user=User(totp_secret=TOTP_SECRET))

    assert_told(run_tap_with(bench.settings()), "Login failed", "totp_secret")


def test_a_missing_role_is_told(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(user=User(roles=frozenset()))

    finished = run_tap_with(bench.settings())

    assert_told(finished, "401", "token", "CoworkerExtraServiceUseHistory-Read", "-List")


def test_an_unreachable_host_is_told(bench: Bench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    finished = run_tap_with(bench.settings(api_url=f"http://127.0.0.1:{port}", max_retries=1))

    assert_told(finished, "connection refused", "api_url")


def test_a_host_that_does_not_exist_is_told(bench: Bench) -> None:
    finished = run_tap_with(bench.settings(api_url="https://nowhere.invalid", max_retries=1))

    assert_told(finished, "can't be resolved", "api_url")


def test_a_host_that_does_not_speak_tls_is_told(bench: Bench) -> None:
    address = bench.sandbox.url.replace("http:", "https:")

    assert_told(run_tap_with(bench.settings(api_url=address, max_retries=1)), "doesn't speak TLS")


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"record_ids": "12,abc"}, ["record_ids"]),
        ({"record_ids_file": "missing.txt"}, ["record_ids_file", "missing.txt", "No such file"]),
        ({"username": None, "password": None}, ["No way to log in", "refresh_token"]),
        ({"api_url": "http://spaces.nexudus.com"}, ["api_url", "https://"]),
        ({"stream_maps": {STREAM: {"x": "1 +"}}}, ["x"]),
    ],
)
def test_a_mistake_in_the_settings_is_told(
    bench: Bench, settings: dict[str, Any], parts: list[str]
) -> None:
    assert_told(run_tap_with(bench.settings(**settings)), *parts)
    assert bench.world.count()["all"] == 0


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize("content", ["{", '"text"'])
def test_a_file_that_is_no_json_object_is_told(bench: Bench, option: str, content: str) -> None:
    Path("file.json").write_text(content, encoding="utf-8")

    assert_told(run_tap_with(bench.settings(), option, "file.json"), option.strip("-"))


def test_a_missing_config_file_is_told() -> None:
    assert_told(run_tap("--config", "nowhere.json"), "config", "nowhere.json")


def test_an_unknown_option_is_told() -> None:
    finished = run_tap("--recrod")

    assert finished.code == 2
    assert "--recrod" in finished.last_line
    assert "Traceback" not in finished.stderr


def test_messages_are_all_that_stdout_gets(bench: Bench) -> None:
    finished = run_tap_with(bench.settings())

    types = [json.loads(line)["type"] for line in finished.stdout.splitlines()]
    assert types == ["SCHEMA"] + ["RECORD"] * len(bench.ledger) + ["STATE"]


def test_the_end_is_summed_up_in_one_line(bench: Bench) -> None:
    finished = run_tap_with(bench.settings())

    (line,) = [line for line in finished.stderr.splitlines() if "records emitted" in line]
    assert "20 records emitted, 20 of 20 Ids read; 2 calls, 0 of them tried again" in line


def test_metrics_are_logged_as_for_any_sdk_tap(bench: Bench) -> None:
    stderr = run_tap_with(bench.settings()).stderr

    for metric in ("http_request_duration", "http_request_count", "record_count"):
        assert f'"metric":"{metric}"' in stderr


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault(status=500, body="echo", endpoints=("one", "many"), times=None),
        Fault(status=400, body="echo", endpoints=("token",), times=None),
        Fault(status=200, body="echo", endpoints=("token",), times=None),
        Fault("expire_token", endpoints=("many",)),
    ],
)
def test_no_secret_is_written_even_at_debug_level(
    make_bench: Callable[..., Bench], fault: Fault | None
) -> None:
    user = User("api.user@example.com", 'pä"ss wörd+/&', TOTP_SECRET)
    bench = make_bench(user=user)
    form = {"grant_type": "password", "username": user.username, "password": user.password}
    code = bench.world.tokens  # the sandbox's own knowledge
    bench.world.user.totp_secret = None
    token = str(code.grant(form, "tap-nexudus-usage")["refresh_token"])
    bench.world.user.totp_secret = TOTP_SECRET
    secrets = [user.username, user.password, json.dumps(user.password)[1:-1], TOTP_SECRET, token]
    if fault is not None:
        if fault.body:
            fault.body = json.dumps({"you": [user.username, user.password, TOTP_SECRET, token]})
        bench.world.faults.append(fault)

    finished = run_tap_with(
        bench.settings(
            record_ids=list(bench.ledger)[:2],
            totp_secret=TOTP_SECRET,
            refresh_token=token,
            max_retries=2,
        ),
        env={**os.environ, "TAP_NEXUDUS_USAGE_LOGLEVEL": "DEBUG"},
    )

    assert "DEBUG" in finished.stderr
    assert finished.code == (1 if fault is not None and fault.body else 0)
    for secret in [*secrets, *bench.world.tokens.issued]:
        assert secret not in finished.stderr
        assert secret not in finished.stdout


def run_with(redirection: str, *command: str) -> subprocess.CompletedProcess[str]:
    shell = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m"]
    return subprocess.run(
        [*shell, *command], capture_output=True, text=True, check=False, timeout=60
    )


def test_it_runs_though_stderr_is_closed(bench: Bench) -> None:
    config = bench.settings(record_ids=list(bench.ledger)[:2])
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")

    finished = run_with("2>&-", "tap_nexudus_usage", "--config", "config.json")

    assert finished.returncode == 0
    assert finished.stdout.count('"RECORD"') == 2


@pytest.mark.parametrize(
    "command",
    [
        ["tap_nexudus_usage", "--config", "config.json"],
        ["tap_nexudus_usage", "--discover"],
        ["tap_nexudus_usage", "--about"],
        ["tap_nexudus_usage", "--version"],
        ["tap_nexudus_usage.airbyte.cli", "spec"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("stdout", [">&-", FULL])
def test_a_stdout_that_takes_nothing_is_told(bench: Bench, command: list[str], stdout: str) -> None:
    config = bench.settings(record_ids=list(bench.ledger)[:2])
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")

    finished = run_with(stdout, *command)

    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "The messages can't be written" in finished.stderr.splitlines()[-1]


def test_an_error_body_is_cut_and_cannot_forge_a_line(bench: Bench) -> None:
    body = "first\nCRITICAL | all is well\x1b[2J " + "x" * 5_000
    bench.world.faults.append(Fault(status=418, body=body, times=None))

    finished = run_tap_with(bench.settings())

    assert_told(finished, "418", r"first\nCRITICAL")
    assert "x" * 201 not in finished.stderr


def test_a_traceback_comes_at_debug_level_before_the_last_line(bench: Bench) -> None:
    finished = run_tap_with(
        bench.settings(password="wrong"), env={**os.environ, "TAP_NEXUDUS_USAGE_LOGLEVEL": "DEBUG"}
    )

    assert "Traceback" in finished.stderr
    assert "Login failed" in finished.last_line
    assert "CRITICAL" in finished.last_line


ABOUT_TO_LOG = """
import logging, threading
from tap_nexudus_usage.logs import silence_other_threads

passed, told = threading.Event(), threading.Event()

class SlowHandler(logging.StreamHandler):
    def filter(self, record):
        passes = super().filter(record)
        if threading.current_thread() is not threading.main_thread():
            passed.set()
            told.wait(60)
        return passes

logging.basicConfig(handlers=[SlowHandler()])
late = threading.Thread(target=logging.error, args=("late",), daemon=True)
late.start()
assert passed.wait(60), "Handler.handle doesn't ask Handler.filter any more"
silence_other_threads()
logging.error("last")
told.set()
late.join(0.2)
"""
"""A thread whose record has passed the filters when the others are silenced."""


def test_a_thread_that_is_about_to_log_does_not_get_the_last_word() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", ABOUT_TO_LOG],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == "ERROR:root:last\n", (
        "Handler.handle writes without the lock that Handler.acquire takes, "
        "on which silence_other_threads relies"
    )


def test_a_redirect_is_not_followed(make_bench: Callable[..., Bench]) -> None:
    thief, bench = make_bench(), make_bench()
    headers = {"Location": f"{thief.sandbox.url}/api/token"}
    bench.world.faults.append(Fault(status=307, headers=headers, times=None))

    finished = run_tap_with(bench.settings())

    assert_told(finished, "307", "api_url")
    assert thief.world.count()["all"] == 0


@pytest.mark.parametrize(
    "imported",
    ["tap_nexudus_usage.singer.tap", "tap_nexudus_usage.run.run"],
    ids=["singer", "airbyte"],
)
def test_the_collector_leaves_alone_what_is_imported_and_nothing_later(imported: str) -> None:
    script = (
        "import gc; from tap_nexudus_usage.start import imports; counts = []\n"
        "for _ in range(2):\n"
        f"    with imports(): import {imported}\n"
        "    assert gc.isenabled()\n"
        "    counts.append(gc.get_freeze_count())\n"
        "print(*counts)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    first, again = map(int, finished.stdout.split())
    assert first > 20_000
    assert again == first
