"""Input that nobody should send, and somebody will: right output or one clear line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from outcomes import STREAM, Finished, catalog_of
from tap_server import Order, TapServer

from tap_nexudus_usage.errors import ApiError, InvalidRecordError, SettingsError, TapError
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER, Entity
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.world import World
from tap_nexudus_usage.settings.checked import from_config
from tap_nexudus_usage.settings.declared import PROPERTIES
from tap_nexudus_usage.settings.tidying import LARGEST_ID, tidy

HALF_A_PAIR = "\ud83d"
DEEP = "[" * 20_000 + "]" * 20_000

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "20"))

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 50,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", " ", "\n", "a\r\nb", "\x00", HALF_A_PAIR, "ü", "é" * 3_000, "1,2", "[]"]),
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 10**400, 1e400, 1e-300, 0.5, float("nan"), float("-inf")]),
)
scalars = st.one_of(st.none(), st.booleans(), texts, numbers)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """One sandbox for all examples."""
    ledger, allowances = tenant_tables(5, 60)
    with Sandbox(World(ledger, {ALLOWANCES: allowances})) as sandbox:
        yield Bench(sandbox)


def assert_one_clear_line(finished: Finished) -> None:
    assert "Traceback" not in finished.stderr
    assert "This is a bug" not in finished.stderr
    assert finished.code in {0, 1}
    if finished.code:
        assert "CRITICAL" in finished.last_line
        assert finished.stderr.count("CRITICAL") == 1


# Settings

ADDRESSES = [
    "https://",
    "ftp://127.0.0.1",
    "http://[::1",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:1/a b",
    "http://user:password@127.0.0.1",
    "http://127.0.0.1:1?x",
    "https://..",
    f"https://{'a' * 300}.invalid",
    "127.0.0.1",
]


@fuzz
@given(
    changed=st.dictionaries(
        st.sampled_from(sorted(set(PROPERTIES) - {"api_url"})), anything, min_size=1, max_size=2
    ),
    address=st.one_of(st.none(), st.none(), st.none(), st.sampled_from(ADDRESSES)),
)
@example(changed={"request_timeout": 0.3}, address=None)
@example(changed={"request_timeout": 1e300, "max_throttle_wait": 10**400}, address=None)
@example(changed={"request_timeout": float("nan")}, address=None)
@example(changed={"lookback_hours": 10**30, "record_ids": None}, address=None)
@example(changed={"requests_per_minute": 10**30}, address=None)
@example(changed={"user_agent": "a\r\nb: c"}, address=None)
@example(changed={"client_id": "ü"}, address=None)
@example(changed={"access_token": f"secret{HALF_A_PAIR}"}, address=None)
@example(changed={"start_date": "0001-01-01T00:00:00+14:00"}, address=None)
@example(changed={"start_date": "9999-12-31T23:59:59-14:00"}, address=None)
@example(changed={"record_ids": [10**30, -1, 0]}, address=None)
@example(changed={"record_ids": list(range(1, 1_000))}, address=None)
@example(changed={"record_ids_file": "\x00"}, address=None)
@example(changed={"stream_maps": {STREAM: {"a": "b +"}}}, address=None)
def test_settings_of_any_kind_work_or_are_told(
    bench: Bench, tap_server: TapServer, changed: dict[str, Any], address: str | None
) -> None:
    config = {**bench.settings(max_retries=2), **changed}
    if address is not None:
        config["api_url"] = address
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")

    finished = tap_server.run(Order(["--config", "config.json"], clock_speed=1e6))

    assert_one_clear_line(finished)
    for name in ("password", "access_token", "refresh_token", "totp_secret"):
        secret = changed.get(name)
        if isinstance(secret, str) and len(secret.strip()) > 5:
            assert secret.strip() not in finished.stderr


@pytest.mark.crossing
@pytest.mark.parametrize("content", ["", "[]", "{", "null", DEEP, '{"password": NaN}', "\x00"])
@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
def test_a_file_of_any_content_works_or_is_told(
    bench: Bench, tap_server: TapServer, option: str, content: str
) -> None:
    Path("config.json").write_text(json.dumps(bench.settings()), encoding="utf-8")
    Path("file.json").write_text(content, encoding="utf-8")

    order = Order(["--config", "config.json", option, "file.json"], clock_speed=1e6)

    assert_one_clear_line(tap_server.run(order))


# The file of Ids


def ids_in(content: bytes) -> tuple[int, ...]:
    Path("ids").write_bytes(content)
    config = {**{n: p["default"] for n, p in PROPERTIES.items() if "default" in p}}
    config |= {"access_token": "x", "record_ids_file": "ids"}
    return from_config(tidy(config, PROPERTIES), default_user_agent="x").record_ids


ids = st.lists(st.integers(1, LARGEST_ID), min_size=1, max_size=20, unique=True)
noise = st.sampled_from(["", "  ", "# a comment", "\t", "#"])


@fuzz
@given(
    expected=ids,
    header=st.sampled_from([None, "Id", " id ", "Name,ID,Other"]),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    quoted=st.booleans(),
    data=st.data(),
)
def test_a_file_of_ids_is_read_whatever_it_was_written_with(
    expected: list[int],
    header: str | None,
    end: str,
    mark: bool,
    quoted: bool,
    data: st.DataObject,
) -> None:
    cells = [f'"{record_id}"' if quoted else f" {record_id} " for record_id in expected]
    several = header is not None and "," in header
    lines = [f"a room,{cell},x" if several else cell for cell in cells]
    for _ in range(data.draw(st.integers(0, 4))):
        lines.insert(data.draw(st.integers(0, len(lines))), data.draw(noise))
    text = end.join([*([] if header is None else [header]), *lines])

    assert ids_in(text.encode("utf-8-sig" if mark else "utf-8")) == tuple(expected)


@fuzz
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text("0123456789,;\"'# \t\r\nIdN-+.e\x00", max_size=60).map(str.encode),
    )
)
@example(b"\xff\xfe1\x00")
@example(b"Name,Other\n1,2\n")
@example(b"1\n-5\n")
@example(b"9223372036854775808\n")
@example(b"Id\n")
@example(b'"1')
def test_a_file_of_anything_gives_its_ids_or_is_told(content: bytes) -> None:
    try:
        found = ids_in(content)
    except SettingsError as error:
        told = str(error)
    else:
        told = ""
        assert found
        written = {int(digits) for digits in re.findall(rb"\d+", content)}
        assert written.issuperset(found)
    assert not told or re.fullmatch(r"Setting record_ids_file: .+", told)


def test_two_hundred_thousand_ids_are_read() -> None:
    ids = range(1, 200_001)
    lines = "\n".join(map(str, ids))

    assert ids_in(f"Id\n{lines}\n".encode()) == tuple(ids)


@pytest.mark.parametrize("path", [".", "nowhere", "a\x00b", "/dev/null"])
def test_a_path_that_is_no_file_of_ids_is_told(path: str) -> None:
    with pytest.raises(SettingsError, match="record_ids_file"):
        from_config(
            {"access_token": "x", "record_ids_file": path, "api_url": "https://a.b"}
            | {n: p["default"] for n, p in PROPERTIES.items() if "default" in p},
            default_user_agent="x",
        )


# The state


bookmarks = st.fixed_dictionaries(
    {},
    optional={
        "replication_key": anything,
        "replication_key_value": st.one_of(anything, st.just("2025-01-15T10:30:00Z")),
        "read_by": st.one_of(anything, st.sampled_from(["id", "search"])),
        "emitted": st.one_of(
            anything,
            st.dictionaries(
                texts | st.just("zlib1"), st.sampled_from(["2025-01-15T10:30:00.5Z", "1:", None])
            ),
        ),
        "partitions": anything,
        "progress_markers": anything,
        "starting_replication_value": anything,
    },
)


@fuzz
@given(
    st.one_of(
        st.dictionaries(texts, anything, max_size=3),
        st.fixed_dictionaries({"bookmarks": anything}),
        st.fixed_dictionaries({"bookmarks": st.fixed_dictionaries({STREAM: bookmarks})}),
    ),
    st.booleans(),
)
def test_a_state_of_any_kind_is_understood_or_refused(
    bench: Bench,
    state: dict[str, Any],
    by_id: bool,
) -> None:
    way = {} if by_id else {"record_ids": None}

    run = bench.run(state=state, **way)

    if run.error is None:
        again = bench.read(state=run.state, **way)
        assert again.ids == []
        expected = set(bench.ledger)
        # A bookmark ahead of them, were it given, is what it says.
        assert set(run.ids) == expected or (not by_id and "replication_key_value" in str(state))
    else:
        assert isinstance(run.error, SettingsError)
        assert "state" in str(run.error).casefold()


@pytest.mark.parametrize("cut", range(0, 400, 40))
def test_a_state_truncated_by_hand_is_told(bench: Bench, tap_server: TapServer, cut: int) -> None:
    Path("config.json").write_text(json.dumps(bench.settings()), encoding="utf-8")
    whole = json.dumps(bench.read().state)
    Path("state.json").write_text(whole[:cut], encoding="utf-8")

    finished = tap_server.run(
        Order(["--config", "config.json", "--state", "state.json"], clock_speed=1e6)
    )

    assert_one_clear_line(finished)
    assert finished.code == 1
    assert "state file" in finished.last_line


# The API's records


def as_json(record: dict[str, Any]) -> str:
    """As JSON with what it doesn't allow: NaN, halves of surrogate pairs."""
    return json.dumps(record, default=float)


FIELDS = ["CreditUsed", "UpdatedOn", "CustomFields", "Price", "RemainingUses", "ExpireDate"]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.stream)
@fuzz
@given(
    changes=st.lists(
        st.dictionaries(
            st.one_of(st.sampled_from(FIELDS), texts),
            anything,
            max_size=3,
        ),
        min_size=1,
        max_size=3,
    ),
    by_id=st.booleans(),
    on_invalid_record=st.sampled_from(["warn", "fail"]),
)
@example(changes=[{"CustomFields": float("nan")}], by_id=True, on_invalid_record="warn")
@example(changes=[{"BookingResourceName": HALF_A_PAIR}], by_id=False, on_invalid_record="warn")
@example(changes=[{"CustomFields": {"a": [HALF_A_PAIR]}}], by_id=False, on_invalid_record="fail")
@example(changes=[{"BookingResourceName": "x" * 1_000_000}], by_id=False, on_invalid_record="fail")
@example(changes=[{"CreditUsed": 2**63}], by_id=False, on_invalid_record="warn")
@example(changes=[{"CreditUsed": "12"}], by_id=False, on_invalid_record="warn")
@example(changes=[{"UpdatedOn": "0001-01-01T00:00:00+14:00"}], by_id=True, on_invalid_record="warn")
@example(changes=[{"UpdatedOn": "9999-12-31T23:59:59Z"}], by_id=False, on_invalid_record="warn")
def test_records_of_any_kind_are_emitted_rightly_or_told(
    bench: Bench,
    entity: Entity,
    changes: list[dict[str, Any]],
    by_id: bool,
    on_invalid_record: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.clear()
    table = bench.world.table(entity)
    record_ids = [*bench.ledger] if entity == LEDGER else present(bench)
    records = [dict(table.get(i) or {}) for i in record_ids]
    for record, change in zip(records, changes, strict=False):
        record.update(change, Id=record["Id"])
    body = "[" + ",".join(map(as_json, records)) + "]"
    if not by_id:
        body = f'{{"Records": {body}, "TotalItems": {len(records)}, "HasNextPage": false}}'
    fault = Fault(status=200, body=body, endpoints=("many", "search"), times=None)
    fault.streams = (entity.stream,)
    bench.world.faults[:] = [fault]

    run = bench.run(
        catalog=catalog_of(entity.stream),
        on_invalid_record=on_invalid_record,
        **({} if by_id else {"record_ids": None}),
    )
    bench.world.faults.clear()

    if run.error is not None:
        assert isinstance(run.error, (InvalidRecordError, ApiError))
        assert on_invalid_record == "fail" or isinstance(run.error, ApiError)
        return
    skipped = {record_id for record_id in record_ids if f"Record Id {record_id} " in caplog.text}
    assert set(run.ids) | skipped == set(record_ids)
    assert not set(run.ids) & skipped
    for line in run.lines:
        json.dumps(json.loads(line), allow_nan=False).encode()


def present(bench: Bench) -> list[int]:
    """The allowances that the ledger names, and that there are; a gone one is asked for alone."""
    uses = (bench.ledger.get(record_id) or {} for record_id in bench.ledger)
    named = dict.fromkeys(use["CoworkerExtraServiceId"] for use in uses)
    return [record_id for record_id in named if bench.allowances.get(record_id) is not None]


def test_a_record_too_deep_to_read_is_left_out_and_named(bench: Bench) -> None:
    deep = list(bench.ledger)[2]
    body = f'{{"Id": {deep}, "CustomFields": {DEEP}}}'
    bench.world.faults[:] = [
        Fault(status=200, body=f"[{body}]", endpoints=("many",), ids=[deep], times=None),
        Fault(status=200, body=body, endpoints=("one",), ids=[deep], times=None),
    ]

    run = bench.run(max_retries=2)
    bench.world.faults.clear()

    assert isinstance(run.error, TapError)
    assert str(deep) in str(run.error)
    assert set(run.ids) == set(bench.ledger) - {deep}


def test_missing_and_extra_fields_do_no_harm(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    record_id = next(iter(bench.ledger))
    record = {"Id": record_id, "UpdatedOn": "2025-01-15T10:30:00Z", "Surprise\n": 1}
    body = json.dumps([record])
    bench.world.faults[:] = [Fault(status=200, body=body, endpoints=("many",), times=None)]

    run = bench.read(record_ids=[record_id, record_id + 1])
    bench.world.faults.clear()

    assert run.records == [
        {
            "Id": record_id,
            "UpdatedOn": "2025-01-15T10:30:00.000000Z",
            "_sdc_deleted_at": None,
        }
    ]
    assert "unknown to the schema" in caplog.text
