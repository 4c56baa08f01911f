"""How a tenant reads what the documents leave open, as `nexudus-sandbox` is told on its command
line."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from conftest import Bench

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER, Entity
from tap_nexudus_usage.nexudus.session import ApiSession
from tap_nexudus_usage.sandbox.tokens import User

COMMAND = Path(sys.executable).parent / "nexudus-sandbox"
UPDATED_ON = LEDGER.filter("UpdatedOn")


@contextlib.contextmanager
def started(*options: str) -> Iterator[str]:
    """The address of a sandbox with these options."""
    command = [COMMAND, "--records", "30", "--no-throttle", "--stop-after", "60", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        try:
            yield url
        finally:
            process.terminate()


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Callable[..., requests.Response]]:
    """A sandbox with these options, to get paths from."""
    with started(*options) as url:
        yield get_from(url)


def get_from(url: str) -> Callable[..., requests.Response]:
    login = {"grant_type": "password", "username": User.username, "password": User.password}
    token = requests.post(f"{url}/api/token", data=login, timeout=10).json()["access_token"]
    session = ApiSession(
        lambda *_, **__: None, lambda: None, user_agent="test", timeout=10, settings={}
    )

    def get(path: str, entity: Entity = LEDGER) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        request = requests.Request("GET", f"{url}{entity.path}{path}", headers=headers)
        return session.send(session.prepare_request(request))

    return get


def stamps_in(record: dict[str, Any]) -> list[str]:
    names = ("UpdatedOn", "CreatedOn", "BookingFromTime")
    return [record[name] for name in names if record[name]]


def test_readings_of_the_search_are_played() -> None:
    options = ["--clock=+2", "--dir-reading=words", "--page-cap=7", "--silent-cap"]
    with serving(*options, "--next-page=always", "--ignore=page") as get:
        page = get("?size=30&orderBy=UpdatedOn&dir=ascending&page=2").json()
        stamps = [record["UpdatedOn"][:16] for record in page["Records"]]
        minute, hour = stamps[3], int(stamps[3][11:13])
        # Two hours ahead, a bound two hours later means the same moment.
        later = f"{minute[:11]}{hour + 2:02}{minute[13:]}"
        above = get(f"?size=30&orderBy=UpdatedOn&dir=ascending&from_{UPDATED_ON}={later}").json()

    assert hour < 22
    assert stamps == sorted(stamps)
    assert (page["CurrentPage"], len(stamps), page["HasNextPage"]) == (1, 7, True)
    assert above["Records"][0]["UpdatedOn"][:16] == minute


def test_so_many_allowances_are_served_to_who_may_see_them() -> None:
    with serving("--allowances=40", "--seed=3") as get:
        used = [row["CoworkerExtraServiceId"] for row in get("?size=30").json()["Records"]]
        page = get("?size=100", ALLOWANCES).json()
    with serving(f"--role={LEDGER.list_role}", f"--role={ALLOWANCES.read_role}") as get:
        statuses = [get("/7").status_code, get("").status_code]
        statuses += [get("/7", ALLOWANCES).status_code, get("", ALLOWANCES).status_code]

    assert page["TotalItems"] == 40
    assert {record["Id"] for record in page["Records"]}.intersection(used)
    assert statuses == [401, 200, 404, 401]


def test_the_forms_of_get_many_are_played() -> None:
    with serving("--get-many-form", "filter") as get:
        ids = [record["Id"] for record in get("").json()["Records"]][:2]
        array = get(f"/?id=[{ids[0]},{ids[1]}]").json()
        filtered = get(f"?{LEDGER.filter('Id')}=[{ids[0]},{ids[1]}]").json()
    with serving("--get-many-form", "none") as get:
        ignored = get(f"?{LEDGER.filter('Id')}=[{ids[0]},{ids[1]}]").json()

    assert array["TotalItems"] == ignored["TotalItems"] == 30
    assert [record["Id"] for record in filtered["Records"]] == ids


def test_stamps_without_z_and_blank_fields_are_played() -> None:
    with serving("--no-z", "--blank-in-lists=UniqueId", "--ties=turning") as get:
        listed = get("?size=1").json()["Records"][0]
        (many,) = get(f"/?id=[{listed['Id']}]").json()
        (filtered,) = get(f"?{LEDGER.filter('Id')}=[{listed['Id']}]").json()["Records"]
        alone = get(f"/{listed['Id']}").json()

    for record in (listed, many, filtered, alone):
        assert not any(stamp.endswith("Z") for stamp in stamps_in(record))
    assert [bool(record["UniqueId"]) for record in (listed, filtered, many, alone)] == [
        False,
        False,
        True,
        True,
    ]


def test_arrays_may_leave_fields_empty_too(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(blank_in_lists=frozenset({"UniqueId"}), lists="pages and arrays")
    get = get_from(bench.sandbox.url)
    record_id = next(iter(bench.ledger))

    assert get(f"/?id=[{record_id}]").json()[0]["UniqueId"] is None
    assert get(f"/{record_id}").json()["UniqueId"]


@pytest.mark.parametrize("clock", ["99", "../x", "Europe/Atlantis"])
def test_a_clock_that_is_none_is_refused(clock: str) -> None:
    finished = subprocess.run(
        [COMMAND, "--clock", clock], capture_output=True, check=False, text=True, timeout=30
    )

    assert finished.returncode == 2
    assert "is no number of hours within a day, nor a time zone" in finished.stderr


def test_a_zone_keeps_daylight_saving(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(0, clock=ZoneInfo("Europe/Lisbon"))
    get = get_from(bench.sandbox.url)
    for stamp in ("2025-01-15T10:30:00Z", "2025-07-15T10:30:00Z"):
        bench.ledger.insert(UpdatedOn=stamp)

    def count(bound: str) -> int:
        total: int = get(f"?from_{UPDATED_ON}={bound}").json()["TotalItems"]
        return total

    assert [count("2025-01-15T10:30"), count("2025-01-15T10:31")] == [2, 1]
    assert [count("2025-07-15T11:30"), count("2025-07-15T11:31")] == [1, 0]


def helped() -> str:
    finished = subprocess.run(
        [COMMAND, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    return finished.stdout


def test_the_help_steers_it() -> None:
    script = helped().partition("fail:\n")[2].partition("  The user")[0]
    with started("--records=50") as url:
        records = f"{url}/control/coworker_extra_service_use_histories/records"
        before = {record["Id"]: record for record in requests.get(records, timeout=10).json()}
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace("http://127.0.0.1:8765", url)],  # noqa: S607
            capture_output=True,
            check=True,
            timeout=60,
        )
        after = {record["Id"]: record for record in requests.get(records, timeout=10).json()}
        get = get_from(url)
        statuses = [get("?size=1").status_code for _ in range(4)]

    changed = {record_id for record_id in after if after[record_id] != before[record_id]}
    assert len(before.keys() - after.keys()) == 1
    assert {after[record_id]["CreditUsed"] for record_id in changed} == {45}
    assert statuses == [500, 500, 500, 200]


def test_the_help_says_that_a_role_leaves_no_other() -> None:
    (option,) = re.findall(r"--role (\S+) +this one and no other", helped())
    with serving(f"--role={option}") as get:
        assert get("?size=1", ALLOWANCES).status_code == 200
        assert get("?size=1", LEDGER).status_code == 401
