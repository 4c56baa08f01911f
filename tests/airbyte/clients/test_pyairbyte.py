"""PyAirbyte reads into its cache what Nexudus has, row by row, whatever comes in between."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import SEED, Bench
from documents import block
from outcomes import STREAM
from waiting import wait_until

from airbyte.clients.pyairbyte import BOTH, Answer, Connection, PyAirbyte
from airbyte.conversation import CURSOR, DELETED, Source
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER, Entity
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.literals import Number
from tap_nexudus_usage.sandbox.turmoil import Turmoil

pytestmark = pytest.mark.airbyte

BY_ID: dict[str, Any] = {}
BY_SEARCH: dict[str, Any] = {"record_ids": None}
WAYS = pytest.mark.parametrize("way", [BY_ID, BY_SEARCH], ids=["id", "search"])

SMALLEST = Decimal("1e-9")
"""A number's precision in PyAirbyte's cache."""

Row = dict[str, Any]
Connect = Callable[[Bench], Connection]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PyAirbyte]:
    with PyAirbyte(tmp_path_factory.mktemp("pyairbyte")) as client:
        yield client


@pytest.fixture
def connect(client: PyAirbyte, tmp_path: Path) -> Connect:
    return lambda bench: Connection(client, Source(bench), tmp_path)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(60, allowances=40)


@pytest.fixture
def connection(connect: Connect, bench: Bench) -> Connection:
    return connect(bench)


def expected(bench: Bench, record_id: int, entity: Entity = LEDGER) -> Row:
    """A record as the cache should hold it."""
    row = bench.expected(record_id, entity)
    row[DELETED] = row.pop("_sdc_deleted_at")
    properties = entity.schema()["properties"]
    for name, value in row.items():
        if value is None:
            continue
        if "number" in properties.get(name, {"type": ()})["type"]:
            row[name] = Decimal(str(value)).quantize(SMALLEST)
        elif properties.get(name, {}).get("format") == "date-time":
            row[name] = value.removesuffix("Z")
    return {name.lower(): value for name, value in row.items()}


def own(row: Row) -> Row:
    """A row without the columns that are not the record's."""
    return {
        name: value
        for name, value in row.items()
        if not name.startswith("_airbyte_") and name != CURSOR
    }


def by_id(answer: Answer) -> dict[int, Row]:
    """The rows, of which no two may be of one Id."""
    rows = {row["id"]: own(row) for row in answer.rows}
    assert len(rows) == len(answer.rows)
    return rows


def named(bench: Bench) -> set[int]:
    """The allowances that the ledger names, as far as they are still there."""
    records = (bench.ledger.get(record_id) or {} for record_id in bench.ledger)
    return {record["CoworkerExtraServiceId"] for record in records} & {*bench.allowances}


def assert_rows(answer: Answer, bench: Bench, ids: Iterable[int], entity: Entity = LEDGER) -> None:
    """Compare the rows of these Ids, column by column."""
    rows = by_id(answer)
    for record_id in ids:
        should = expected(bench, record_id, entity)
        assert rows[record_id].keys() == should.keys()
        for name, value in should.items():
            landed = rows[record_id][name]
            same = landed == value and type(landed) is type(value)
            assert same, (record_id, name, repr(landed)[:200], repr(value)[:200])


def assert_tables(connection: Connection, bench: Bench, way: dict[str, Any]) -> None:
    """Compare both tables with the sandbox's."""
    ledger, allowances = (connection.look(stream) for stream in BOTH)
    wanted = named(bench) if way is BY_ID else {*bench.allowances}
    assert by_id(ledger).keys() == {*bench.ledger}
    assert by_id(allowances).keys() == wanted
    assert_rows(ledger, bench, bench.ledger)
    assert_rows(allowances, bench, by_id(allowances), ALLOWANCES)


def assert_good(answer: Answer) -> Answer:
    assert answer.error is None, answer.told + answer.printed
    assert "Traceback" not in answer.printed
    return answer


@WAYS
def test_a_first_read_equals_what_there_is(
    connection: Connection, bench: Bench, client: PyAirbyte, way: dict[str, Any]
) -> None:
    check = assert_good(connection.check(**way))
    read = assert_good(connection.read(**way))

    assert "Connection check succeeded" in check.printed
    assert_tables(connection, bench, way)
    assert read.processed == sum(len(connection.look(stream).rows) for stream in BOTH)
    assert "records emitted" in client.log


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.stream)
def test_columns_have_the_types_of_the_schema(connection: Connection, entity: Entity) -> None:
    assert_good(connection.read(**BY_SEARCH))
    types = {
        "integer": "BIGINT",
        "number": "DECIMAL(38,9)",
        "boolean": "BOOLEAN",
        "string": "VARCHAR",
    }

    landed = own(connection.look(entity.stream).types)

    wanted = {DELETED: "TIMESTAMP"}
    for name, schema in entity.schema()["properties"].items():
        (kind,) = {*([kind] if isinstance(kind := schema["type"], str) else kind)} - {"null"}
        is_time = schema.get("format") == "date-time"
        wanted[name.lower()] = "TIMESTAMP" if is_time else types[kind]
    wanted.pop("_sdc_deleted_at")
    assert landed == wanted


@WAYS
def test_a_rerun_brings_what_changed_and_the_next_nothing(
    connection: Connection, bench: Bench, way: dict[str, Any]
) -> None:
    assert_good(connection.read(**way))
    ledger, allowances = list(bench.ledger), sorted(named(bench))
    for record_id in ledger[:6]:
        bench.ledger.change(record_id, CreditUsed=999, BookingResourceName=None)
    for record_id in allowances[:3]:
        bench.allowances.change(record_id, RemainingUses=7, Price=Number("12.10"))
    if way is BY_ID:
        # A search doesn't find what is stamped earlier.
        bench.ledger.change(ledger[9], CreditUsed=3, UpdatedOn="2023-12-31T23:59:59.5Z")
    else:
        bench.ledger.change(ledger[9], CreditUsed=3)

    changed = assert_good(connection.read(**way))
    tables = [connection.look(stream).rows for stream in BOTH]
    silent = assert_good(connection.read(**way))

    assert changed.processed == 10
    assert silent.processed == 0
    assert_tables(connection, bench, way)
    assert [connection.look(stream).rows for stream in BOTH] == tables


def test_a_deleted_record_stays_as_a_row_that_says_so(connection: Connection, bench: Bench) -> None:
    settings = {"record_ids": list(bench.ledger), "on_missing_record": "tombstone"}
    assert_good(connection.read(**settings))
    deleted, *others = settings["record_ids"]
    bench.ledger.delete(deleted)

    told = assert_good(connection.read(**settings))
    again = assert_good(connection.read(**settings))

    assert (told.processed, again.processed) == (1, 0)
    landed = connection.look()
    row = by_id(landed)[deleted]
    assert {name for name, value in row.items() if value is not None} == {"id", DELETED}
    assert_rows(landed, bench, others)


def test_a_full_refresh_that_replaces_leaves_out_what_is_gone(
    connection: Connection, bench: Bench
) -> None:
    assert_good(connection.read(**BY_SEARCH))
    for table in (bench.ledger, bench.allowances):
        for record_id in list(table)[3:6]:
            table.delete(record_id)
    options = {"force_full_refresh": True, "write_strategy": "replace"}

    again = assert_good(connection.read(options=options, **BY_SEARCH))

    assert again.processed == len(bench.ledger) + len(bench.allowances)
    assert_tables(connection, bench, BY_SEARCH)
    assert assert_good(connection.read(**BY_SEARCH)).processed == 0


def test_a_wrong_password_is_told_and_never_shown(
    connection: Connection, bench: Bench, client: PyAirbyte
) -> None:
    assert_good(connection.read())
    wrong = {"password": "Not the one, 2025!"}

    check, read = connection.check(**wrong), connection.read(**wrong)

    assert check.error == "AirbyteConnectorCheckFailedError"
    assert "Failure Reason: 'Login failed:" in check.told
    assert "Check username and password" in check.told
    assert read.error == "AirbyteConnectorFailedError"
    assert "Exit Code: 1" in read.told
    assert "ERROR: Login failed:" in read.printed
    everything = client.log + check.told + check.printed + read.told + read.printed
    for secret in (wrong["password"], bench.world.user.password, bench.world.user.username):
        assert secret not in everything
    assert_tables(connection, bench, BY_ID)


def test_an_api_that_is_not_there_is_told(connection: Connection, bench: Bench) -> None:
    assert_good(connection.read())
    nowhere = {"api_url": "http://127.0.0.1:1", "max_retries": 1}

    check, read = connection.check(**nowhere), connection.read(**nowhere)

    for answer in (check, read):
        assert answer.error is not None
        assert "127.0.0.1:1" in answer.printed.replace("\n", "")
        assert "Traceback" not in answer.printed
    assert_tables(connection, bench, BY_ID)
    assert assert_good(connection.read()).processed == 0


def hang(bench: Bench, **fault: Any) -> Fault:
    """Let the third batch or page hang."""
    bench.world.faults.append(Fault("hang", endpoints=("many", "search"), skip=2, **fault))
    return bench.world.faults[-1]


SLOWLY = {"batch_size": 10, "page_size": 10, "max_concurrent_requests": 1}


@WAYS
def test_what_was_killed_is_read_again_as_nothing_was_kept(
    connection: Connection, bench: Bench, way: dict[str, Any]
) -> None:
    assert_good(connection.read(**way))
    before = [connection.look(stream).rows for stream in BOTH]
    for record_id in list(bench.ledger)[::2]:
        bench.ledger.change(record_id, CreditUsed=3)
    fault = hang(bench)

    connection.start(**SLOWLY, **way)
    wait_until(lambda: not fault.times)
    connection.kill(signal.SIGKILL)
    killed = connection.end()

    assert killed.error == "AirbyteConnectorFailedError"
    assert "Exit Code: -9" in killed.told
    assert [connection.look(stream).rows for stream in BOTH] == before
    assert assert_good(connection.read(**way)).processed == 30
    assert_tables(connection, bench, way)


@WAYS
def test_what_was_terminated_goes_on_where_it_was(
    connection: Connection, bench: Bench, way: dict[str, Any]
) -> None:
    fault = hang(bench)

    connection.start(**SLOWLY, **way)
    wait_until(lambda: not fault.times)
    connection.kill(signal.SIGTERM)
    # PyAirbyte takes this end for a good one, and keeps what came with its state.
    first = assert_good(connection.end())
    kept = connection.look()
    second = assert_good(connection.read(**way))

    assert 0 < first.processed < len(bench.ledger)
    assert len(by_id(kept)) == first.processed
    assert_rows(kept, bench, by_id(kept))
    assert_tables(connection, bench, way)
    total = sum(len(connection.look(stream).rows) for stream in BOTH)
    assert first.processed + second.processed == total


@pytest.mark.parametrize("waits_for", ["its reader", "the API"])
def test_the_first_records_come_and_it_ends_quickly_and_cleanly(
    make_bench: Callable[..., Bench], connect: Connect, waits_for: str
) -> None:
    bench = make_bench(3_000)
    settings: dict[str, Any] = {}
    if waits_for == "the API":
        hang(bench, times=None)
        settings = SLOWLY
    connection = connect(bench)

    some = assert_good(connection.some(STREAM, 5, pause=2.0, **settings))

    assert [row["Id"] for row in some.rows] == list(bench.ledger)[:5]
    # After ten, PyAirbyte kills.
    assert some.seconds < 9
    assert not connection.is_running


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
def test_records_that_change_while_they_are_read_are_neither_lost_nor_doubled(
    make_bench: Callable[..., Bench], connect: Connect, seed: int
) -> None:
    bench = make_bench(400, allowances=40)
    connection = connect(bench)
    settings = {**BY_SEARCH, "page_size": 10, "lookback_hours": 0}
    assert_good(connection.read(**BY_SEARCH))
    for record_id in list(bench.ledger)[::2]:
        bench.ledger.change(record_id, CreditUsed=3)
    for _ in range(2):
        bench.world.turmoil = Turmoil(probability=0.5, seed=seed)
        assert_good(connection.read(**settings))
        by_id(connection.look())
    bench.world.turmoil = None
    assert_good(connection.read(**settings))

    landed = connection.look()
    # A search can't tell what is gone.
    assert by_id(landed).keys() >= {*bench.ledger}
    assert_rows(landed, bench, bench.ledger)


NULLS, TEXTS, NUMBERS, LONG = 2**63 - 1, 2**31, 2**33, 2**53 + 1
"""Ids that are hard to load themselves: none fits into 32 bits."""

DIFFICULT: dict[int, Row] = {
    TEXTS: {
        "BookingResourceName": "“Ünï” 会議室 غرفة עברית Переговорная ไทย 🎙 e\u0301 \u200b\ufeff",
        "ToStringText": (
            'it\'s "quoted" \'\'twice"" \\ back\\\\slash \\n \\N\nnew\r\nline\rs\ttab \x1f\x7f'
            " ; , | ` $1 ${x} :x ? %s {} -- /* NULL \u2028 \u2029 \u0000 \x85 \ud83d\ude00"
        )
        .encode("utf-16", "surrogatepass")
        .decode("utf-16"),
        "SystemId": "",
        "UpdatedBy": " ",
        "LocalizationDetails": ["{}", "\\", '"', None],
        "CustomFields": {'a"b\\': ["\n", "é", None, 1.5, True, {"x": "'"}], "": {}},
    },
    NUMBERS: {
        "CreditUsed": -(2**53),
        "BookingId": 2**63 - 1,
        "CoworkerExtraServiceId": 0,
        "BookingFromTime": "0001-01-01T00:00:00Z",
        "BookingToTime": "9999-12-31T23:59:59.9999999Z",
        "IsNew": False,
    },
    LONG: {"ToStringText": '“é\\"\n,'.ljust(1_024, "x") * 1_024, "CreditUsed": 2**40},
}

DECIMALS = ["12.10", "1e2", "-0.000000001", "123456789.123456", "9007199254740993", "0", "-7.5"]


def test_difficult_content_arrives_as_it_is(
    make_bench: Callable[..., Bench], connect: Connect
) -> None:
    bench = make_bench(5, allowances=len(DECIMALS))
    for record_id, fields in DIFFICULT.items():
        bench.ledger.insert(record_id, **fields)
    nulls = dict.fromkeys(bench.ledger.get(TEXTS) or {}) | {"Id": NULLS}
    bench.ledger.insert(NULLS, **nulls)
    numbers = [n for n, s in ALLOWANCES.schema()["properties"].items() if "number" in s["type"]]
    for record_id, spelling in zip(bench.allowances, DECIMALS, strict=True):
        bench.allowances.change(record_id, **dict.fromkeys(numbers, Number(spelling)))
    connection = connect(bench)

    # One without `UpdatedOn` is found by its Id only.
    assert_good(connection.read(**BY_ID))
    landed = connection.look()
    assert by_id(landed).keys() == {*bench.ledger}
    assert_rows(landed, bench, bench.ledger)
    (long_text,) = (row["tostringtext"] for row in landed.rows if row["id"] == LONG)
    assert len(long_text) == 2**20
    assert_good(connection.read(**BY_SEARCH))
    assert_rows(connection.look(ALLOWANCES.stream), bench, bench.allowances, ALLOWANCES)


def test_the_script_in_the_readme_reads_both_streams(
    bench: Bench, client: PyAirbyte, tmp_path: Path
) -> None:
    script = block("README.md", "python")
    connection = Connection(client, Source(bench), tmp_path, cache="usage.duckdb")
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    variables = client.variables
    assert variables["AIRBYTE_OFFLINE_MODE"] == "1"

    finished = subprocess.run(
        [client.python, "script.py"],
        cwd=tmp_path,
        env={
            **variables,
            "PATH": f"{tmp_path}:{variables['PATH']}",
            "TAP_NEXUDUS_USAGE_USERNAME": bench.world.user.username,
            "TAP_NEXUDUS_USAGE_PASSWORD": bench.world.user.password,
            "TAP_NEXUDUS_USAGE_API_URL": bench.sandbox.url,
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=240,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_tables(connection, bench, BY_SEARCH)
