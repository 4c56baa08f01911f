"""What travels where: certificates, addresses, redirects, logs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
import yaml
from conftest import SEED, Bench, run_tap_with
from outcomes import Finished

from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.records import Ledger
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def https_bench(authority: trustme.CA, tmp_path: Path) -> Iterator[Bench]:
    """A sandbox over https, with a certificate of an authority that nobody knows."""
    certificate = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    with Sandbox(World(Ledger(5, SEED)), certificate=str(certificate)) as sandbox:
        yield Bench(sandbox)


def environment(**variables: str) -> dict[str, str]:
    others = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}
    return {**{n: v for n, v in os.environ.items() if n not in others}, **variables}


def assert_refused(finished: Finished, bench: Bench) -> None:
    assert finished.code == 1
    assert "the server's certificate can't be verified" in finished.last_line
    assert bench.world.count()["all"] == 0


@pytest.mark.parametrize("variables", [{}, {"REQUESTS_CA_BUNDLE": ""}, {"PYTHONHTTPSVERIFY": "0"}])
def test_a_certificate_of_an_unknown_authority_is_refused(
    https_bench: Bench, variables: dict[str, str]
) -> None:
    finished = run_tap_with(https_bench.settings(), env=environment(**variables))

    assert_refused(finished, https_bench)


def test_a_certificate_for_another_host_is_refused(
    https_bench: Bench, authority: trustme.CA
) -> None:
    authority.cert_pem.write_to_path("authority.pem")
    address = https_bench.sandbox.url.replace("127.0.0.1", "localhost")

    finished = run_tap_with(
        https_bench.settings(api_url=address),
        env=environment(REQUESTS_CA_BUNDLE="authority.pem"),
    )

    assert_refused(finished, https_bench)


def test_a_certificate_of_a_proxys_authority_can_be_trusted(
    https_bench: Bench, authority: trustme.CA
) -> None:
    authority.cert_pem.write_to_path("authority.pem")

    finished = run_tap_with(
        https_bench.settings(), env=environment(REQUESTS_CA_BUNDLE="authority.pem")
    )

    assert finished.code == 0
    assert finished.run.ids == list(https_bench.ledger)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("endpoint", ["token", "many", "one"])
def test_a_redirect_carries_nothing_to_another_host(
    make_bench: Callable[..., Bench], status: int, endpoint: str
) -> None:
    thief, bench = make_bench(), make_bench()
    headers = {"Location": f"{thief.sandbox.url}/api/token"}
    bench.world.faults.append(
        Fault(status=status, headers=headers, endpoints=(endpoint,), times=None)  # type: ignore[arg-type]
    )

    run = bench.run(max_retries=2, batch_size=1 if endpoint == "one" else 200)

    assert thief.world.count()["all"] == 0
    assert run.error is not None or run.ids == list(bench.ledger)


def test_a_netrc_login_is_not_mixed_in(bench: Bench) -> None:
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text("default login someone password else\n", encoding="utf-8")
    netrc.chmod(0o600)

    assert run_tap_with(bench.settings()).code == 0


# Logs, besides those that the fault campaign searches

ECHO = "you are api.user@example.com, correct horse"


@pytest.mark.parametrize("formatter", ["ConsoleFormatter", "StructuredFormatter"])
@pytest.mark.parametrize("of_its_own", [True, False], ids=["own handler", "root handler"])
def test_no_secret_gets_into_a_log_configured_otherwise(
    bench: Bench, formatter: str, *, of_its_own: bool
) -> None:
    handler = {"class": "logging.FileHandler", "filename": "tap.log", "formatter": "any"}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"any": {"()": f"singer_sdk.logging.{formatter}"}},
        "handlers": {"file": handler},
        "loggers" if of_its_own else "root": (
            {"tap_nexudus_usage": {"handlers": ["file"], "level": "DEBUG"}}
            if of_its_own
            else {"handlers": ["file"], "level": "DEBUG"}
        ),
    }
    Path("logging.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    body = json.dumps({"error": ECHO})
    bench.world.faults.append(Fault(status=400, body=body, endpoints=("token",), times=None))

    finished = run_tap_with(
        bench.settings(), env={**os.environ, "SINGER_SDK_LOG_CONFIG": "logging.yml"}
    )

    log = Path("tap.log").read_text(encoding="utf-8")
    assert finished.code == 1
    assert "Login failed" in log
    assert "Traceback" in log or formatter == "StructuredFormatter"
    for text in (log, finished.stderr, finished.stdout):
        assert bench.world.user.password not in text
        assert bench.world.user.username not in text


@pytest.mark.parametrize("option", ["--about", "--test"])
def test_no_secret_is_shown_by_what_explains_the_tap(bench: Bench, option: str) -> None:
    body = json.dumps({"error": ECHO})
    bench.world.faults.append(Fault(status=500, body=body, endpoints=("many", "one"), times=None))

    finished = run_tap_with(
        bench.settings(max_retries=1),
        option,
        env={**os.environ, "LOGLEVEL": "DEBUG"},
    )

    for secret in (*bench.world.tokens.issued, "correct horse", "api.user@example.com"):
        assert secret not in finished.stdout + finished.stderr


def test_a_room_cannot_forge_a_line_of_the_log(bench: Bench) -> None:
    record_id = next(iter(bench.ledger))
    room = "Room\n2026-01-01 CRITICAL | all is well\x1b[2J\u2028"
    bench.ledger.change(record_id, BookingResourceName=[room], **{room: 1})

    finished = run_tap_with(bench.settings(on_invalid_record="warn"))

    assert finished.code == 0
    assert f"Record Id {record_id} breaks the schema" in finished.stderr
    assert "\n2026-01-01" not in finished.stderr
    assert "\x1b" not in finished.stderr
    assert "\u2028" not in finished.stderr
