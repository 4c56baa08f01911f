"""The sandbox refuses what the API refuses; a double that is too kind would prove nothing."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyotp
import pytest
import requests
import trustme
from calling import get, token_of
from click.testing import CliRunner
from conftest import Bench
from waiting import wait_until

from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.sandbox import cli
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.records import Ledger, dotnet
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.tokens import LIST, READ, User
from tap_nexudus_usage.sandbox.turmoil import Turmoil
from tap_nexudus_usage.sandbox.world import World
from tap_nexudus_usage.timestamps import canonical

ENTITY, ENTITY_NAME = LEDGER.path, LEDGER.name

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def test_a_token_answer_has_the_documented_fields(bench: Bench) -> None:
    answer = token_of(bench).json()

    assert answer.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 604_799)


def test_a_json_login_is_an_unsupported_grant(bench: Bench) -> None:
    form = {"grant_type": "password", "username": "u", "password": "p"}

    answer = requests.post(f"{bench.sandbox.url}/api/token", json=form, timeout=10)

    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize("form", [{"password": "x"}, {"username": "x"}])
def test_a_wrong_login_is_an_invalid_grant(bench: Bench, form: dict[str, str]) -> None:
    answer = token_of(bench, **form)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_two_factor_login_needs_the_current_code(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(user=User(totp_secret=SECRET))
    code = pyotp.TOTP(SECRET)

    assert token_of(bench).status_code == 400
    assert token_of(bench, totp=code.at(0)).status_code == 400
    assert token_of(bench, totp=code.now()).status_code == 200


def test_refresh_tokens_rotate_one_a_client(bench: Bench) -> None:
    tokens, user = bench.world.tokens, bench.world.user
    login = {"grant_type": "password", "username": user.username, "password": user.password}

    def refresh(token: object, client_id: str | None) -> dict[str, Any]:
        form = {"grant_type": "refresh_token", "refresh_token": str(token)}
        return tokens.grant(form, client_id)

    first = tokens.grant(login, "a")
    tokens.grant(login, "b")
    second = refresh(first["refresh_token"], "a")
    assert tokens.is_good(f"Bearer {first['access_token']}")
    for token, client_id in [
        (first["refresh_token"], "a"),
        (second["refresh_token"], "b"),
        (second["refresh_token"], None),
    ]:
        with pytest.raises(PermissionError, match="invalid_grant"):
            refresh(token, client_id)


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_role_is_answered_as_ordered(
    make_bench: Callable[..., Bench], status: int
) -> None:
    bench = make_bench(user=User(roles=frozenset()), missing_role_status=status)

    assert get(bench, f"{ENTITY}/7").status_code == status
    assert get(bench, f"{ENTITY}/7", "nobody's").status_code == 401


def test_the_throttle_can_tell_the_wait_in_the_text_only(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(throttled=True, throttle_answer=429)
    token = bench.world.tokens.grant(
        {
            "grant_type": "password",
            "username": bench.world.user.username,
            "password": bench.world.user.password,
        },
        None,
    )["access_token"]

    answers = [get(bench, ENTITY, str(token)) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert "Wait 1.0 seconds" in answers[1].text
    assert "Retry-After" not in answers[1].headers
    assert bench.world.count()["throttled"] == 1


def test_answers_can_begin_with_a_byte_order_mark(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(byte_order_mark=True, token_status=203, refused_login_status=200)

    answer, refusal = token_of(bench), token_of(bench, password="wrong")

    assert answer.content.startswith(b"\xef\xbb\xbf{")
    assert (answer.status_code, refusal.status_code) == (203, 200)
    assert b"invalid_grant" in refusal.content


def test_an_answer_can_stall(bench: Bench) -> None:
    bench.world.faults.append(Fault("stall", seconds=0.3))

    with pytest.raises(requests.ConnectionError, match="timed out"):
        requests.post(f"{bench.sandbox.url}/api/token", data={}, timeout=0.1)
    bench.world.faults.append(Fault("stall", seconds=0.01))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        token_of(bench)


def test_an_expired_token_is_refused(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(time_scale=0.001)
    bench.world.tokens.lifetime = 1.0
    token = token_of(bench).json()["access_token"]
    time.sleep(0.002)

    assert get(bench, f"{ENTITY}/1", token).status_code == 401


@pytest.mark.parametrize(
    ("roles", "get_many_role", "one", "many"),
    [
        ({READ, LIST}, "Read", 200, 200),
        ({READ}, "Read", 200, 200),
        ({READ}, "List", 200, 401),
        ({LIST}, "List", 401, 200),
        (set(), "Read", 401, 401),
    ],
)
def test_roles_decide_what_may_be_read(
    make_bench: Callable[..., Bench], roles: set[str], get_many_role: str, one: int, many: int
) -> None:
    bench = make_bench(user=User(roles=frozenset(roles)), get_many_role=get_many_role)
    record_id = next(iter(bench.ledger))

    assert get(bench, f"{ENTITY}/{record_id}").status_code == one
    assert get(bench, f"{ENTITY}/?id=[{record_id}]").status_code == many


def test_get_one_gives_a_record_or_404(bench: Bench) -> None:
    record_id = next(iter(bench.ledger))

    assert get(bench, f"{ENTITY}/{record_id}").json() == bench.ledger.get(record_id)
    assert get(bench, f"{ENTITY}/5").status_code == 404


def test_get_many_leaves_out_what_does_not_exist(bench: Bench) -> None:
    ids = list(bench.ledger)[:3]

    records = get(bench, f"{ENTITY}/?id=[{ids[0]},5,{ids[2]}]").json()

    assert {record["Id"] for record in records} == {ids[0], ids[2]}


@pytest.mark.parametrize("query", ["id=%5B1%5D", "id=[1,x]", "id=[]", "ids=[1]", ""])
def test_get_many_wants_literal_brackets_around_ids(bench: Bench, query: str) -> None:
    token = token_of(bench).json()["access_token"]

    answer = requests.get(
        f"{bench.sandbox.url}{ENTITY}/?{query}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )

    # requests by itself encodes the brackets, in all of them.
    assert answer.status_code == 400


@pytest.mark.parametrize("status", [404, 414])
def test_a_query_of_more_than_2048_characters_is_refused(
    make_bench: Callable[..., Bench], status: int
) -> None:
    bench = make_bench(long_query_status=status)
    ids = ",".join(["1"] * 1_022)

    assert len(f"id=[{ids}]") == 2_048
    assert get(bench, f"{ENTITY}/?id=[{ids}]").status_code == 200
    assert get(bench, f"{ENTITY}/?id=[{ids}0]").status_code == status


def test_the_throttle_answers_409_with_whole_seconds(make_bench: Callable[..., Bench]) -> None:
    # One call in ten seconds: no machine is too slow for the second to come too soon.
    bench = make_bench(throttled=True, time_scale=100.0)
    token = str(bench.world.tokens.grant(password_form(bench), None)["access_token"])

    first, *throttled = [get(bench, f"{ENTITY}/5", token) for _ in range(3)]

    assert first.status_code == 404
    assert {answer.status_code for answer in throttled} == {409}
    assert {answer.headers["Retry-After"] for answer in throttled} == {"1"}
    assert {answer.content for answer in throttled} == {b""}


def password_form(bench: Bench) -> dict[str, str]:
    user = bench.world.user
    return {"grant_type": "password", "username": user.username, "password": user.password}


def test_the_same_seed_gives_the_same_ledger() -> None:
    first, second, other = Ledger(50, 1), Ledger(50, 1), Ledger(50, 2)

    assert [first.get(i) for i in first] == [second.get(i) for i in second]
    assert list(first) != list(other)


def test_a_ledger_is_as_varied_as_the_real_one() -> None:
    ledger = Ledger(500)
    records = [ledger.get(record_id) or {} for record_id in ledger]
    fractions = {len(r["UpdatedOn"].partition(".")[2].rstrip("Z")) for r in records}

    assert fractions >= set(range(8))
    assert any(record["BookingId"] is None for record in records)
    assert any(
        not record["BookingResourceName"].isascii()
        for record in records
        if record["BookingResourceName"]
    )
    for record in records:
        assert canonical(record["UpdatedOn"]) >= canonical(record["CreatedOn"])


def test_steering_over_http(bench: Bench) -> None:
    base = f"{bench.sandbox.url}/control"
    records_url = f"{base}/{LEDGER.stream}/records"
    records = requests.get(records_url, timeout=10).json()
    first = records[0]["Id"]

    changed = requests.patch(f"{records_url}/{first}", json={"CreditUsed": 1}, timeout=10).json()
    assert changed["CreditUsed"] == 1
    assert canonical(changed["UpdatedOn"]) > canonical(records[0]["UpdatedOn"])
    assert requests.delete(f"{records_url}/{first}", timeout=10).status_code == 204
    assert bench.ledger.get(first) is None
    inserted = requests.post(records_url, json={"CreditUsed": 2}, timeout=10).json()
    assert bench.ledger.get(inserted["Id"]) == inserted
    requests.post(f"{base}/faults", json={"status": 418, "times": 1}, timeout=10)
    assert get(bench, f"{ENTITY}/5", "any").status_code == 418
    assert requests.get(f"{base}/calls", timeout=10).json()["one"] == 1


def test_a_bulk_change_stamps_all_within_a_span(bench: Bench) -> None:
    url = f"{bench.sandbox.url}/control/{LEDGER.stream}/records"
    before = requests.get(url, timeout=10).json()

    assert requests.patch(url, json={"minute": 1}, timeout=10).status_code == 400
    assert requests.patch(url, json={"seconds": 60}, timeout=10).status_code == 204

    after = requests.get(url, timeout=10).json()
    stamps = [datetime.fromisoformat(canonical(r["UpdatedOn"]).rstrip("Z")) for r in after]
    found = search(bench, "orderBy=UpdatedOn&dir=0&size=100")["Records"]
    assert [record["Id"] for record in after] == [record["Id"] for record in before]
    assert 0 < (max(stamps) - min(stamps)).total_seconds() <= 60
    assert len(set(stamps)) == len(after)
    assert sorted(found, key=lambda r: canonical(r["UpdatedOn"])) == found
    assert {record["UpdatedOn"] for record in found} == {record["UpdatedOn"] for record in after}


def test_calls_are_told_one_by_one_and_forgotten(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(throttled=True)
    control = f"{bench.sandbox.url}/control/calls"
    token = str(bench.world.tokens.grant(password_form(bench), None)["access_token"])

    statuses = [get(bench, f"{ENTITY}/5", token).status_code for _ in range(2)]
    each = requests.get(f"{control}/each", timeout=10).json()
    assert [(call["endpoint"], call["status"]) for call in each] == [("one", s) for s in statuses]
    assert each[0]["time"] < each[1]["time"]

    assert requests.delete(control, timeout=10).status_code == 204
    assert get(bench, f"{ENTITY}/5", token).status_code == 404
    assert requests.get(control, timeout=10).json()["all"] == 1


def test_connections_are_counted_whether_a_call_comes_or_not(bench: Bench) -> None:
    control = f"{bench.sandbox.url}/control/calls"
    address = ("127.0.0.1", int(bench.sandbox.url.rpartition(":")[2]))
    assert requests.delete(control, timeout=10).status_code == 204

    with socket.create_connection(address, timeout=10), requests.Session() as session:
        for _ in range(3):
            session.get(f"{bench.sandbox.url}/api/auth/me", timeout=10)
        counted = requests.get(control, timeout=10).json()["connections"]

    # The one without a call, the session's, and the one on which it is asked.
    assert counted == 3


def test_a_changed_record_is_served_as_it_is_now(bench: Bench) -> None:
    first, second = list(bench.ledger)[:2]
    paths = [f"{ENTITY}/{first}", f"{ENTITY}/?id=[{first}]", f"{ENTITY}?size=1"]
    before = [get(bench, path).content for path in paths]

    bench.ledger.change(first, CreditUsed=999)
    assert all(b'"CreditUsed":999' in get(bench, path).content for path in paths)
    bench.ledger.delete(first)
    assert get(bench, paths[0]).status_code == 404
    assert get(bench, paths[1]).json() == []
    assert search(bench, "size=1")["Records"] == [bench.ledger.get(second)]
    assert not any(b'"CreditUsed":999' in body for body in before)


def test_dotnet_drops_trailing_zeros() -> None:
    from datetime import datetime, timezone  # noqa: PLC0415

    moment = datetime(2025, 1, 15, 10, 30, tzinfo=timezone.utc)

    assert dotnet(moment) == "2025-01-15T10:30:00Z"
    assert dotnet(moment.replace(microsecond=500_000)) == "2025-01-15T10:30:00.5Z"
    assert dotnet(moment.replace(microsecond=1), 7) == "2025-01-15T10:30:00.0000017Z"


SEARCH = "orderBy=UpdatedOn&dir=0"


def search(bench: Bench, query: str) -> dict[str, Any]:
    answer = get(bench, f"{ENTITY}?{query}")
    assert answer.status_code == 200
    return dict(answer.json())


def stamped(bench: Bench, *stamps: str) -> list[int]:
    return [bench.ledger.insert(UpdatedOn=stamp)["Id"] for stamp in stamps]


def test_a_search_answer_has_the_documented_fields(make_bench: Callable[..., Bench]) -> None:
    answer = search(make_bench(103), "page=2&size=25&orderBy=UpdatedOn&dir=0")

    assert len(answer.pop("Records")) == 25
    assert answer == {
        "CurrentPage": 2,
        "CurrentPageSize": 25,
        "CurrentOrderField": "UpdatedOn",
        "CurrentSortDirection": 0,
        "FirstItem": 26,
        "LastItem": 50,
        "TotalItems": 103,
        "TotalPages": 5,
        "HasNextPage": True,
        "HasPreviousPage": True,
    }


def test_search_goes_by_id_and_in_pages_of_25_unless_told(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(30)

    assert [r["Id"] for r in search(bench, "")["Records"]] == list(bench.ledger)[:25]


@pytest.mark.parametrize(
    ("dir_reading", "direction", "ascending"),
    [("new", 0, True), ("new", 1, False), ("old", 1, True), ("old", -1, False), ("old", 0, False)],
)
def test_both_readings_of_dir(
    make_bench: Callable[..., Bench], dir_reading: str, direction: int, *, ascending: bool
) -> None:
    bench = make_bench(20, dir_reading=dir_reading)

    records = search(bench, f"orderBy=UpdatedOn&dir={direction}")["Records"]

    stamps = [canonical(record["UpdatedOn"]) for record in records]
    assert stamps == sorted(stamps, reverse=not ascending)


def test_bounds_are_minutes_both_included(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(0)
    ids = stamped(
        bench,
        "2025-01-15T10:29:59.9999999Z",
        "2025-01-15T10:30:00Z",
        "2025-01-15T10:30:59.9Z",
        "2025-01-15T10:31:00Z",
        "2025-01-15T10:31:00.0000001Z",
    )
    bounds = (
        f"from_{ENTITY_NAME}_UpdatedOn=2025-01-15T10:30&to_{ENTITY_NAME}_UpdatedOn=2025-01-15T10:31"
    )

    assert [r["Id"] for r in search(bench, f"{SEARCH}&{bounds}")["Records"]] == ids[1:4]
    too_fine = f"from_{ENTITY_NAME}_UpdatedOn=2025-01-15T10:30:01"
    assert get(bench, f"{ENTITY}?{too_fine}").status_code == 400


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("CoworkerExtraService", "CoworkerExtraServiceId"),
        ("Booking", "BookingId"),
        ("CreditUsed", "CreditUsed"),
    ],
)
def test_equality_filters(make_bench: Callable[..., Bench], name: str, field: str) -> None:
    bench = make_bench(40)
    value = next(v for i in bench.ledger if (v := (bench.ledger.get(i) or {})[field]))

    found = search(bench, f"size=100&{ENTITY_NAME}_{name}={value}")["Records"]

    expected = [i for i in bench.ledger if (bench.ledger.get(i) or {})[field] == value]
    assert [record["Id"] for record in found] == expected


def test_a_page_is_no_larger_than_the_cap(make_bench: Callable[..., Bench]) -> None:
    answer = search(make_bench(30, page_cap=7), "size=1000")

    assert (len(answer["Records"]), answer["CurrentPageSize"], answer["TotalPages"]) == (7, 7, 5)


def test_search_needs_the_list_role(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(user=User(roles=frozenset({READ})))

    assert get(bench, f"{ENTITY}?page=1").status_code == 401


def test_turmoil_changes_records_between_searches(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(30, turmoil=Turmoil(probability=0.9, seed=1))
    before = {i: bench.ledger.get(i) for i in bench.ledger}

    for _ in range(10):
        search(bench, "")

    after = {i: bench.ledger.get(i) for i in bench.ledger}
    assert before.keys() - after.keys()
    assert after.keys() - before.keys()
    assert any(after[i] != before[i] for i in before.keys() & after.keys())


def test_connections_that_come_just_as_others_are_refused_are_closed() -> None:
    call = b"GET /api/billing/coworkerextraserviceusehistories/5 HTTP/1.1\r\nHost: nexudus\r\n\r\n"
    # Whether a connection comes in the very moment is chance; of so many rounds, one in four.
    for _ in range(15):
        world = World(Ledger(0))
        world.faults.append(Fault("refuse", seconds=0.001))
        clients = [socket.socket() for _ in range(4)]
        with Sandbox(world) as sandbox:
            address = ("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
            clients[0].settimeout(60)
            clients[0].connect(address)
            time.sleep(0.003)
            for client in clients[1:]:
                client.setblocking(False)
            clients[0].sendall(call)
            for client in clients[1:]:
                client.connect_ex(address)
            time.sleep(0.01)
        for client in clients:
            client.close()
    # What was left open shows in a ResourceWarning now, which is an error here.
    gc.collect()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The sandbox finds closed transports again, as it does until they are collected."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_an_answer_that_outlives_its_connection_does_not_disturb_the_end() -> None:
    text = "x" * 1_000_000
    with Sandbox(World(Ledger(20))) as sandbox:
        bench = Bench(sandbox)
        for record_id in bench.ledger:
            bench.ledger.change(record_id, BookingResourceName=text)
        token = token_of(bench).json()["access_token"]
        # Larger than the buffers between the two: it is still being sent after the close.
        answer = requests.get(
            f"{sandbox.url}{ENTITY}",
            headers={"Authorization": f"Bearer {token}", "Connection": "close"},
            stream=True,
            timeout=10,
        )
        time.sleep(0.1)
        received = answer.content
    # An exception of the sandbox's thread fails this test.
    assert len(received) > 20 * len(text)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("way", ["reset", "closed", "open"])
def test_a_connection_over_tls_does_not_disturb_the_end(tmp_path: Path, way: str) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with Sandbox(World(Ledger(1)), certificate=str(certificate)) as sandbox:
        address = ("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
        connection = socket.create_connection(address, timeout=60)
        client = context.wrap_socket(connection, server_hostname="127.0.0.1")
        client.sendall(b"GET /api/token HTTP/1.1\r\nHost: nexudus\r\n\r\n")
        assert client.recv(1)
        if way == "reset":
            at_once = struct.pack("ii", 1, 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        if way != "open":
            client.close()
        time.sleep(0.05)
    client.close()
    # A transport left open shows now, and an exception of the sandbox's thread fails this test.
    gc.collect()


def test_what_was_refused_over_tls_is_served_over_tls_again(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, trusted = tmp_path / "server.pem", tmp_path / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(trusted)
    world = World(Ledger(1))
    world.faults.append(Fault("refuse", seconds=0.001))
    with Sandbox(world, certificate=str(certificate)) as sandbox:
        url = f"{sandbox.url}/api/auth/me"
        with pytest.raises(requests.ConnectionError):
            requests.get(url, verify=trusted, timeout=10)
        address = ("127.0.0.1", int(sandbox.url.rpartition(":")[2]))

        def is_taken() -> bool:
            with socket.socket() as client:
                return not client.connect_ex(address)

        wait_until(is_taken)
        answer = requests.get(url, verify=trusted, timeout=10)

    assert answer.status_code == 401


def test_a_certificate_that_cannot_be_read_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Sandbox(World(Ledger(1)), certificate=str(tmp_path / "none.pem"))


def test_a_certificate_without_its_key_is_told(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(file)

    finished = CliRunner().invoke(cli.main, ["--certificate", str(file), "--stop-after", "1"])

    assert finished.exit_code == 1
    assert f"{file} doesn't hold, in PEM, a key with its certificate" in finished.output


def test_without_its_extra_the_command_says_what_it_needs() -> None:
    script = (
        "import sys; sys.modules['uvicorn'] = None; from tap_nexudus_usage.sandbox import cli; "
        "cli.main(['--records', '1'])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )

    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "needs uvicorn" in finished.stderr
    assert "[sandbox]" in finished.stderr


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"endpoints": ["searches"]}, "Unknown: searches; there are token"),
        ({"kind": "html"}, "Unknown: html; there are answer"),
        ({"statu": 500}, "statu"),
    ],
)
def test_a_fault_that_would_befall_nothing_is_refused(
    bench: Bench, fault: dict[str, object], told: str
) -> None:
    answer = requests.post(f"{bench.sandbox.url}/control/faults", json=fault, timeout=10)

    assert answer.status_code == 400
    assert told in answer.json()["Message"]
    assert not bench.world.faults
