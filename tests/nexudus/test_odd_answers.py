"""Answers otherwise than documented: what is needed is taken, the rest told without a secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Bench, run_tap_with
from front import Front, forward, say

from tap_nexudus_usage.errors import AccessError, ApiError, LoginError
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import LIST, READ, User

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJlLTEyMzQ1Njc4OTA"
REFRESH_TOKEN = "Qk3v9Zr1Lx7mWc5tYb2nHd8sPf4gJe6a"
GRANT = {"access_token": TOKEN, "token_type": "bearer", "refresh_token": REFRESH_TOKEN}


def issue(bench: Bench) -> dict[str, str]:
    """Tokens as another process would get them."""
    user = bench.world.user
    form = {"grant_type": "password", "username": user.username, "password": user.password}
    return {name: str(value) for name, value in bench.world.tokens.grant(form, None).items()}


def statuses(bench: Bench, endpoint: str) -> list[int]:
    return [call.status for call in bench.world.calls if call.endpoint == endpoint]


# Which setting holds what was refused


@pytest.mark.parametrize("missing_role_status", [401, 403])
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"access_token": "bad", "username": None, "password": None}, "access_token"),
        ({}, "username and password"),
        ({"access_token": "bad"}, "username and password"),
    ],
)
def test_a_refusal_names_the_setting_that_holds_the_token(
    make_bench: Callable[..., Bench],
    missing_role_status: int,
    settings: dict[str, Any],
    named: str,
) -> None:
    bench = make_bench(user=User(roles=frozenset()), missing_role_status=missing_role_status)

    run = bench.run(**settings, batch_size=1, max_concurrent_requests=1)

    assert isinstance(run.error, AccessError)
    assert f"so check {named}," in str(run.error)
    assert READ in str(run.error)


def test_a_refusal_names_the_refresh_token_that_the_token_is_from(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(user=User(roles=frozenset()))
    refresh_token = issue(bench)["refresh_token"]

    run = bench.run(refresh_token=refresh_token, username=None, password=None)

    assert isinstance(run.error, AccessError)
    assert "so check refresh_token, or" in str(run.error)


@pytest.mark.parametrize(("record_ids", "role"), [(None, LIST), ([7], READ)])
def test_403_is_a_missing_role_and_asks_for_no_new_token(
    make_bench: Callable[..., Bench], record_ids: list[int] | None, role: str
) -> None:
    bench = make_bench(user=User(roles=frozenset()), missing_role_status=403)

    run = bench.run(record_ids=record_ids)

    assert isinstance(run.error, AccessError)
    assert "403 Forbidden" in str(run.error)
    assert role in str(run.error)
    assert bench.world.tokens.grants == 1


# The token endpoint


@pytest.mark.parametrize("status", [200, 201, 202, 203])
def test_a_token_is_taken_whatever_success_it_comes_with(
    make_bench: Callable[..., Bench], status: int
) -> None:
    bench = make_bench(token_status=status)

    assert bench.read().ids == list(bench.ledger)
    assert statuses(bench, "token") == [status]


@pytest.mark.parametrize(
    "odd",
    [
        {"expires_in": value}
        for value in ("", " ", "2026-01-15T10:30:00Z", True, False, [604_799], {}, None, "soon")
    ]
    + [{"expires_in": value} for value in (0, -1, "0", 0.001, 10**400, "inf", "nan", "1e999")]
    + [{"refresh_token": value} for value in (7, None, True, ["x"], "", {"a": 1})]
    + [{"token_type": 7, "scope": None, "error": None}],
    ids=str,
)
def test_an_odd_token_answer_is_used_until_a_401(bench: Bench, odd: dict[str, Any]) -> None:
    bench.world.tokens.alter = lambda answer: {**answer, **odd}
    bench.world.faults.append(Fault("expire_token", endpoints=("one",), skip=10))

    run = bench.read(batch_size=1, max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)
    assert statuses(bench, "token") == [200, 200]
    assert statuses(bench, "one").count(401) == 1


def test_a_lifetime_that_json_does_not_have_is_not_known(bench: Bench) -> None:
    for value in ("NaN", "Infinity", "9" * 5_000):
        body = f'{{"access_token": "{issue(bench)["access_token"]}", "expires_in": {value}}}'
        bench.world.faults[:] = [Fault(status=200, body=body, endpoints=("token",))]
        bench.world.calls.clear()

        assert bench.read().ids == list(bench.ledger)
        assert statuses(bench, "token") == [200]


def test_a_lifetime_written_as_text_is_kept_to(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(200, latency=0.001)
    # A tenth of a second of the fast tap's time.
    bench.world.tokens.alter = lambda answer: {**answer, "expires_in": "100"}

    run = bench.read(batch_size=1, max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)
    assert bench.world.tokens.grants > 2
    assert {call.status for call in bench.world.calls} == {200}


def test_a_refresh_token_stays_where_a_refresh_brings_none(bench: Bench) -> None:
    first = issue(bench)["refresh_token"]
    body = json.dumps({"access_token": issue(bench)["access_token"], "refresh_token": 7})
    bench.world.tokens._refresh[bench.world.user.username] = (first, 1e18)
    bench.world.faults.append(Fault(status=200, body=body, endpoints=("token",)))
    bench.world.faults.append(Fault("expire_token", endpoints=("one",), skip=3))

    run = bench.read(
        refresh_token=first, username=None, password=None, batch_size=1, max_concurrent_requests=1
    )

    assert run.ids == list(bench.ledger)
    assert statuses(bench, "token") == [200, 200]


@pytest.mark.parametrize("around", ["{}\n", " {} ", "\r\n{}\r\n"])
def test_white_space_around_an_issued_token_goes(bench: Bench, around: str) -> None:
    def alter(answer: dict[str, object]) -> dict[str, object]:
        names = ("access_token", "refresh_token")
        return {**answer, **{name: around.format(answer[name]) for name in names}}

    bench.world.tokens.alter = alter
    bench.world.faults.append(Fault("expire_token", endpoints=("one",), skip=3))

    run = bench.read(batch_size=1, max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)
    assert statuses(bench, "token") == [200, 200]


@pytest.mark.parametrize("inside", ["abc\ndef", "abc\r\nX-Evil: def", "abc\x00def", "t\u00f6ken"])
def test_an_issued_token_that_cannot_be_sent_is_told_once(bench: Bench, inside: str) -> None:
    bench.world.tokens.alter = lambda answer: {**answer, "access_token": inside}

    finished = run_tap_with(bench.settings())

    assert finished.code == 1
    assert "Traceback" not in finished.stderr
    assert "an access_token that can't be sent" in finished.last_line
    for part in (inside, "def", "ken:"):
        assert part not in finished.last_line
    assert bench.count_calls() == 1


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 500, 502])
@pytest.mark.parametrize("code", ["invalid_grant", "unauthorized_client"])
def test_a_refused_login_is_tried_once_and_quoted_whatever_its_status(
    make_bench: Callable[..., Bench], status: int, code: str
) -> None:
    bench = make_bench()
    refusal = {"error": code, "error_description": "The user name or password is incorrect."}
    fault = Fault(status=status, body=json.dumps(refusal), endpoints=("token",), times=None)
    bench.world.faults.append(fault)

    run = bench.run(batch_size=1, max_concurrent_requests=8)

    assert isinstance(run.error, LoginError)
    assert code in str(run.error)
    assert "The user name or password is incorrect. Check" in str(run.error)
    assert "Check username and password" in str(run.error)
    assert bench.count_calls() == 1


def test_a_wrong_password_refused_with_200_is_tried_once(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(refused_login_status=200)

    run = bench.run(password="wrong")

    assert isinstance(run.error, LoginError)
    assert bench.count_calls() == 1


def test_a_refresh_refused_with_200_falls_back_on_the_password(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(refused_login_status=200)

    assert bench.read(refresh_token="used up long ago").ids == list(bench.ledger)
    assert bench.world.tokens.grants == 1


@pytest.mark.parametrize("error", ["server_error", "temporarily_unavailable"])
@pytest.mark.parametrize("status", [200, 500])
def test_a_login_that_fails_for_now_is_tried_again(bench: Bench, error: str, status: int) -> None:
    body = json.dumps({"error": error})
    bench.world.faults.append(Fault(status=status, body=body, endpoints=("token",), times=3))

    assert bench.read().ids == list(bench.ledger)


BODIES_WITH_A_TOKEN = [
    json.dumps(GRANT),
    json.dumps({"data": GRANT}),
    json.dumps([GRANT]),
    json.dumps({**GRANT, "access_token": 7, "id": TOKEN}),
    json.dumps(TOKEN),
    f"<html><body>{TOKEN}</body></html>",
    f"access_token={TOKEN}&refresh_token={REFRESH_TOKEN}",
    json.dumps({"error": f"after {TOKEN}", "error_description": f"as {REFRESH_TOKEN}"}),
]


@pytest.mark.crossing
@pytest.mark.parametrize("status", [200, 201, 203, 204, 206, 299, 302, 400, 404, 429, 500])
@pytest.mark.parametrize("body", BODIES_WITH_A_TOKEN, ids=range(len(BODIES_WITH_A_TOKEN)))
def test_no_token_of_an_answer_is_ever_quoted(
    bench: Bench, caplog: pytest.LogCaptureFixture, status: int, body: str
) -> None:
    caplog.set_level("DEBUG")
    for encoding in ("utf-8", "utf-16"):
        raw = body.encode(encoding)
        answer = f"HTTP/1.1 {status} Odd\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw
        if status == 204:
            answer = answer.replace(f"Content-Length: {len(raw)}".encode(), b"Connection: close")
        with Front(say(answer)) as front:
            run = bench.run(
                api_url=f"http://127.0.0.1:{front.port}", max_retries=2, max_throttle_wait=0
            )

        assert run.error is not None
        for secret in (*TOKEN.split("."), REFRESH_TOKEN):
            assert secret not in str(run.error)
            assert secret not in caplog.text


def test_204_to_a_login_is_told_at_once(bench: Bench) -> None:
    bench.world.faults.append(Fault(status=204, endpoints=("token",), times=None))

    run = bench.run()

    assert isinstance(run.error, ApiError)
    assert "Login failed: the password grant was answered 204" in str(run.error)
    assert "Check api_url" in str(run.error)
    assert bench.count_calls() == 1


@pytest.mark.parametrize("body", ["<html>Log in</html>", "", "null", "[]", '{"access_token": ""}'])
def test_what_is_no_token_is_tried_again(bench: Bench, body: str) -> None:
    fault = Fault(status=200, body=body, endpoints=("token",), times=2)
    bench.world.faults.append(fault)
    assert bench.read().ids == list(bench.ledger)

    fault.times = None
    run = bench.run(max_retries=2)
    assert isinstance(run.error, ApiError)
    assert "(2 tries)" in str(run.error)


# Any answer


def test_a_byte_order_mark_does_no_harm(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(byte_order_mark=True)

    assert bench.read().ids == list(bench.ledger)
    assert bench.read(batch_size=1).ids == list(bench.ledger)
    assert set(bench.read(record_ids=None).ids) == set(bench.ledger)
    assert {call.status for call in bench.world.calls} == {200}


@pytest.mark.parametrize(
    ("encoding", "charset"),
    [
        ("utf-8", None),
        ("utf-8", "iso-8859-1"),
        ("utf-8", "klingon"),
        ("utf-8-sig", "utf-8"),
        ("latin-1", "iso-8859-1"),
        ("latin-1", '"ISO-8859-1"'),
        ("windows-1252", "Windows-1252"),
        ("utf-16", "utf-16"),
        ("utf-16", None),
        ("utf-16-le", None),
        ("utf-32", "utf-8"),
    ],
)
def test_text_arrives_as_it_was_in_whatever_encoding(
    bench: Bench, encoding: str, charset: str | None
) -> None:
    record_id = next(iter(bench.ledger))
    bench.ledger.change(record_id, BookingResourceName="Größe Ü")
    raw = json.dumps(bench.ledger.get(record_id), ensure_ascii=False).encode(encoding)
    kind = "application/json" if charset is None else f"application/json; charset={charset}"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n\r\n"
    with Front(say(head.encode() + raw)) as front:
        run = bench.read(
            api_url=f"http://127.0.0.1:{front.port}",
            access_token="x",
            record_ids=[record_id],
        )

    assert run.records == [bench.expected(record_id)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("endpoint", ["token", "one", "search"])
def test_a_redirect_names_where_it_points_without_a_secret(
    bench: Bench, status: int, endpoint: str
) -> None:
    user = bench.world.user
    target = (
        f"https://someone:Zauberwort@gateway.example.com:8443/login/{TOKEN}"
        f"?password={user.password}&ticket=abc#{user.username}"
    )
    headers = {"Location": target}
    bench.world.faults.append(
        Fault(status=status, headers=headers, endpoints=(endpoint,), times=None)  # type: ignore[arg-type]
    )

    run = bench.run(batch_size=1, record_ids=None if endpoint == "search" else [7])

    assert isinstance(run.error, ApiError)
    assert f"{status} " in str(run.error)
    assert "a redirect to https://gateway.example.com:8443/login/***" in str(run.error)
    assert "Check api_url" in str(run.error)
    for secret in ("Zauberwort", user.password, user.username, "ticket", *TOKEN.split(".")):
        assert secret not in str(run.error)
    assert set(statuses(bench, endpoint)) == {status}


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/login", "/login, which isn't followed"),
        ("login;jsessionid=abc", "/login, which isn't followed"),
        ("//elsewhere.example.com", "http://elsewhere.example.com, which"),
        ("http://[::1", "an address that isn't valid"),
        ("https://gateway.example.com:port/", "an address that isn't valid"),
        ("\xff\xfe", "a redirect to http://127.0.0.1"),
        ("mailto:someone", "a redirect to mailto:"),
        ("", "302 Odd"),
    ],
)
def test_a_redirect_to_anywhere_is_told(bench: Bench, location: str, shown: str) -> None:
    answer = f"HTTP/1.1 302 Odd\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    with Front(say(answer.encode("latin-1"))) as front:
        finished = run_tap_with(bench.settings(api_url=f"http://127.0.0.1:{front.port}"))

    assert finished.code == 1
    assert "This is a bug" not in finished.stderr
    assert shown in finished.last_line
    assert "abc" not in finished.last_line


def test_a_login_page_of_the_network_is_quoted(bench: Bench) -> None:
    page = "<html><title>Hotel Wi-Fi</title></html>"
    bench.world.faults.append(Fault(status=511, body=page, endpoints=("one",), times=None))

    run = bench.run(batch_size=1, record_ids=[7], max_retries=2)

    assert isinstance(run.error, ApiError)
    assert "the network wants a login before it lets anything through" in str(run.error)
    assert "Hotel Wi-Fi" in str(run.error)


def test_a_login_page_that_goes_away_is_waited_out(bench: Bench) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Log in"
    with Front(say(page), say(page), forward(bench.sandbox.url)) as front:
        run = bench.read(api_url=f"http://127.0.0.1:{front.port}")

    assert run.ids == list(bench.ledger)


@pytest.mark.parametrize("status", [100, 102, 103])
def test_what_comes_before_an_answer_is_passed_over(bench: Bench, status: int) -> None:
    token = issue(bench)["access_token"]
    body = json.dumps({"access_token": token})
    answer = (
        f"HTTP/1.1 {status} Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        + body
    )
    with Front(say(answer.encode()), forward(bench.sandbox.url)) as front:
        run = bench.read(api_url=f"http://127.0.0.1:{front.port}")

    assert run.ids == list(bench.ledger)


def test_a_long_reason_is_cut(bench: Bench) -> None:
    answer = b"HTTP/1.1 400 " + b"because " * 2_000 + b"\r\nContent-Length: 0\r\n\r\n"
    with Front(say(answer)) as front:
        run = bench.run(api_url=f"http://127.0.0.1:{front.port}")

    assert isinstance(run.error, LoginError)
    assert len(str(run.error)) < 500
