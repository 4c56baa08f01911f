"""Tokens: grants, rotation, renewal, and one of them at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Bench, FastTap

from tap_nexudus_usage.errors import AccessError, LoginError
from tap_nexudus_usage.nexudus.totp import Totp
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.tokens import User

SEEDS = ["JBSWY3DPEHPK3PXP", "jbsw y3dp ehpk 3pxp", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"]


def test_the_password_grant_names_this_client(bench: Bench) -> None:
    bench.read()

    assert [call.client_id for call in bench.world.calls if call.endpoint == "token"] == [
        "tap-nexudus-usage"
    ]


def test_another_integration_keeps_its_refresh_token(bench: Bench) -> None:
    user = bench.world.user
    form = {"grant_type": "password", "username": user.username, "password": user.password}
    other = bench.world.tokens.grant(form, None)["refresh_token"]

    bench.read()

    refresh = {"grant_type": "refresh_token", "refresh_token": str(other)}
    assert bench.world.tokens.grant(refresh, None)


@pytest.mark.parametrize("totp_secret", SEEDS)
def test_two_factor_login_works_with_seeds_of_any_length(
    make_bench: Callable[..., Bench], totp_secret: str
) -> None:
    bench = make_bench(user=User(totp_secret=totp_secret))

    assert bench.read(totp_secret=totp_secret).ids == list(bench.ledger)


def test_a_one_time_password_is_made_once_the_login_may_be_sent(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(user=User(totp_secret=SEEDS[0]), time_scale=1 / FastTap.clock_speed)
    wait = Fault(status=409, headers={"Retry-After": "120"}, endpoints=("token",), times=2)
    bench.world.faults.append(wait)
    made: list[float] = []
    now = Totp.now

    def note(self: Totp) -> str:
        made.append(bench.world.now())
        return now(self)

    monkeypatch.setattr(Totp, "now", note)
    run = bench.read(totp_secret=SEEDS[0])

    assert run.ids == list(bench.ledger)
    logins = [call.time for call in bench.world.calls if call.endpoint == "token"]
    assert len(logins) == 3
    # One that is older than half a minute or so is refused.
    for throttled_at, made_at in zip(logins[:2], made[-2:], strict=True):
        assert made_at - throttled_at >= 120


def test_tokens_that_end_while_a_call_is_throttled_are_no_missing_role(bench: Bench) -> None:
    headers = {"Retry-After": "600"}
    for _ in range(2):
        bench.world.faults += [
            Fault(status=409, headers=headers, endpoints=("search",)),
            Fault("expire_token", endpoints=("search",)),
        ]

    run = bench.read(record_ids=None)

    assert sorted(run.ids) == list(bench.ledger)
    statuses = [call.status for call in bench.world.calls if call.endpoint == "search"]
    assert statuses[:5] == [409, 401, 409, 401, 200]


def test_a_refresh_token_is_enough_and_sends_no_client_id(bench: Bench) -> None:
    user = bench.world.user
    form = {"grant_type": "password", "username": user.username, "password": user.password}
    token = bench.world.tokens.grant(form, None)["refresh_token"]

    run = bench.read(refresh_token=token, username=None, password=None)

    assert run.ids == list(bench.ledger)
    assert {call.client_id for call in bench.world.calls} == {None}


def test_refresh_tokens_rotate_within_a_run(bench: Bench) -> None:
    user = bench.world.user
    form = {"grant_type": "password", "username": user.username, "password": user.password}
    token = bench.world.tokens.grant(form, None)["refresh_token"]
    login = {"refresh_token": token, "username": None, "password": None}
    for skip in (3, 5, 7):
        bench.world.faults.append(Fault("expire_token", endpoints=("one",), skip=skip))

    run = bench.read(**login, batch_size=1, max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)
    assert bench.world.tokens.grants == 1 + 4


def test_an_access_token_is_used_as_it_is(bench: Bench) -> None:
    user = bench.world.user
    form = {"grant_type": "password", "username": user.username, "password": user.password}
    token = bench.world.tokens.grant(form, None)["access_token"]

    run = bench.read(access_token=token, username=None, password=None)

    assert run.ids == list(bench.ledger)
    assert bench.world.count()["token"] == 0


def test_an_expired_access_token_without_a_login_is_told(bench: Bench) -> None:
    run = bench.run(access_token="old", username=None, password=None)

    assert isinstance(run.error, AccessError)
    assert bench.world.count()["token"] == 0


def test_a_refused_refresh_falls_back_on_the_password(bench: Bench) -> None:
    run = bench.read(refresh_token="used up long ago")

    assert run.ids == list(bench.ledger)
    assert [call.status for call in bench.world.calls if call.endpoint == "token"] == [400, 200]


def test_a_refused_refresh_without_password_is_told(bench: Bench) -> None:
    run = bench.run(refresh_token="used up long ago", username=None, password=None)

    assert isinstance(run.error, LoginError)
    assert "refresh_token" in str(run.error)


def test_eight_threads_that_meet_an_expired_token_renew_it_once(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(200, latency=0.01)
    bench.world.faults.append(Fault("expire_token", endpoints=("one",), skip=50))

    run = bench.read(batch_size=1, max_concurrent_requests=8)

    assert run.ids == list(bench.ledger)
    assert bench.world.tokens.grants == 2


def test_a_token_is_renewed_before_it_expires(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(200, latency=0.001)
    # A tenth of a second of the fast tap's time.
    bench.world.tokens.announced_lifetime = 100.0

    run = bench.read(batch_size=1, max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)
    assert bench.world.tokens.grants > 2
    assert {call.status for call in bench.world.calls} == {200}


def test_a_token_shorter_lived_than_announced_is_renewed_on_401(bench: Bench) -> None:
    bench.world.faults.append(Fault("expire_token", endpoints=("one",), skip=10))

    run = bench.read(batch_size=1, max_concurrent_requests=1)

    assert run.ids == list(bench.ledger)
    assert [call.status for call in bench.world.calls].count(401) == 1


def test_a_wrong_password_is_tried_once_only(bench: Bench) -> None:
    run = bench.run(password="wrong", batch_size=1, max_concurrent_requests=8)

    assert isinstance(run.error, LoginError)
    assert bench.world.count()["all"] == 1


def test_two_taps_in_one_process_keep_their_logins_apart(
    make_bench: Callable[..., Bench],
) -> None:
    first = make_bench(user=User("first@example.com", "one"))
    second = make_bench(user=User("second@example.com", "two"))

    assert first.read().ids == list(first.ledger)
    assert second.read().ids == list(second.ledger)
