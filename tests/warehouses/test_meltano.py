"""Meltano runs the tap: it installs, tests, configures, selects, maps, resumes."""

from __future__ import annotations

import json
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Bench
from documents import block, section
from outcomes import STREAM, Finished
from waiting import wait_until

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.emission.emitted import Emitted
from tap_nexudus_usage.emission.packed import TEXT, count_entries
from tap_nexudus_usage.nexudus.entities import ENTITIES, LEDGER, Entity
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.singer.tap import TapNexudusUsage
from tools.pythons import find
from warehouses.answers import ask, expect, with_floats
from warehouses.engines import ENGINES
from warehouses.environments import CHECKOUT, environment
from warehouses.meltano import TAP, TIMEOUT, Project, at_rest, child_of
from warehouses.recipes import SELECTED
from warehouses.warehouse import Warehouse, in_lower_case

pytestmark = pytest.mark.warehouse

LOADED = ("jsonl", "duckdb", "postgres")
Load = Callable[[str], Warehouse]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the tap and three loaders."""
    # Now, while uv's cache is still found: each test has an empty HOME.
    for name in LOADED:
        environment(name)
    project = Project.create(tmp_path_factory.mktemp("project"))
    finished = project.meltano("install", TAP, *(f"target-{name}" for name in LOADED))
    assert finished.code == 0, finished.stderr
    assert f"Installed {1 + len(LOADED)}/{1 + len(LOADED)} plugins" in finished.stderr
    return project


@pytest.fixture
def project(installed: Project, bench: Bench, request: pytest.FixtureRequest) -> Project:
    """The same with nothing loaded yet, and the tap configured to search."""
    project = installed.in_environment(re.sub(r"\W+", "-", request.node.name))
    project.configure(TAP, bench.settings(record_ids=None))
    return project


@pytest.fixture
def load_into(project: Project, tmp_path: Path) -> Iterator[Load]:
    """Open an empty warehouse, and tell its loader where it is."""
    with ExitStack() as stack:

        def load_into(name: str) -> Warehouse:
            warehouse = stack.enter_context(ENGINES[name](tmp_path))
            config = json.loads((tmp_path / "target.json").read_text(encoding="utf-8"))
            project.configure(f"target-{name}", config)
            return warehouse

        yield load_into


def assert_loaded(
    warehouse: Warehouse,
    bench: Bench,
    entity: Entity = LEDGER,
    without: frozenset[str] = frozenset(),
) -> None:
    """Compare an entity's table with the sandbox's records, row by row."""
    expected = {
        record_id: in_lower_case(
            with_floats(warehouse.changed_by_target(bench.expected(record_id, entity)))
        )
        for record_id in bench.world.table(entity)
    }
    left_out = {name.lower() for name in without}
    rows = {row["id"]: row for row in map(in_lower_case, warehouse.of(entity).rows())}
    assert sorted(rows) == sorted(expected)
    for record_id, row in expected.items():
        assert not left_out & rows[record_id].keys()
        wanted = {name: value for name, value in row.items() if name not in left_out}
        assert {name: rows[record_id].get(name) for name in wanted} == wanted


def emitted(finished: Finished, entity: Entity = LEDGER) -> int:
    """How many records of an entity the tap says it has emitted."""
    (count,) = re.findall(rf"\b{entity.stream}: (\d+) records emitted", finished.stderr)
    return int(count)


@pytest.mark.parametrize("name", ["postgres", "snowflake", "bigquery"])
def test_a_loader_has_the_settings_that_meltano_yml_names(installed: Project, name: str) -> None:
    if name == "bigquery" and find(("3.11",)) is None:
        pytest.skip("target-bigquery needs Python 3.11, and there is none on this machine")
    loader = f"target-{name}"

    finished = installed.meltano("install", loader)
    assert finished.code == 0, finished.stderr
    about = json.loads(installed.meltano("invoke", loader, "--about", "--format=json").stdout)

    definition = yaml.safe_load((CHECKOUT / "meltano.yml").read_text(encoding="utf-8"))
    (settings,) = (
        plugin["settings"]
        for plugin in definition["plugins"]["loaders"]
        if plugin["name"] == loader
    )
    names = {setting["name"] for setting in settings}
    assert names <= about["settings"]["properties"].keys()


def test_the_connection_is_tested(project: Project) -> None:
    finished = project.meltano("config", "test", TAP)

    assert finished.code == 0, finished.stderr
    assert "Plugin configuration is valid" in finished.stdout + finished.stderr


def test_a_wrong_password_is_told(project: Project, bench: Bench) -> None:
    project.configure(TAP, {"password": "wrong horse"})

    finished = project.meltano("config", "test", TAP)

    assert finished.code == 1
    told = finished.stderr.partition("Plugin configuration is invalid")[2]
    assert "Login failed: the password grant was answered 400" in told
    assert "Check username and password" in told
    assert "Traceback" not in finished.stderr
    assert "wrong horse" not in finished.stderr
    assert bench.world.user.username not in finished.stderr


def test_what_meltano_says_by_itself_is_told(project: Project, bench: Bench) -> None:
    said = [project.shell(f"meltano --no-environment run {TAP} target-jsonl").stderr]
    project.configure(TAP, {"page_size": "many"})
    said.append(project.meltano("run", TAP, "target-jsonl").stderr)
    project.configure(TAP, {"page_size": 100})
    bench.world.faults.append(hanging_search(after=0))
    with project.started("run", TAP, "target-jsonl") as process:
        wait_until(lambda: bench.world.calls)
        running = project.meltano("run", TAP, "target-jsonl")
        wait_until(lambda: at_rest(process))
        os.kill(child_of(process, TAP), signal.SIGKILL)
        _, killed = process.communicate(timeout=TIMEOUT)
    said += [running.stderr, killed]

    table = section("docs/troubleshooting.md", "Where the tap says nothing")
    rows = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        assert sum(row in text for text in said) == 1
    assert not any("critical" in text for text in said)


@pytest.mark.parametrize("name", LOADED)
def test_a_second_run_loads_only_what_changed(
    project: Project, bench: Bench, load_into: Load, name: str
) -> None:
    warehouse = load_into(name)
    first = project.run(f"nexudus-to-{name}")
    assert emitted(first) == len(bench.ledger)
    assert_loaded(warehouse, bench)

    changed = list(bench.ledger)[::4]
    for record_id in changed:
        bench.ledger.change(record_id, CreditUsed=999)
    second = project.run(f"nexudus-to-{name}")

    assert emitted(second) == len(changed)
    assert_loaded(warehouse, bench)


def test_the_catalog_is_the_taps(project: Project) -> None:
    finished = project.meltano("invoke", "--dump=catalog", TAP)

    assert finished.code == 0, finished.stderr
    streams = json.loads(finished.stdout)["streams"]
    expected = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)["streams"]
    for stream, wanted in zip(streams, expected, strict=True):
        for name in ("tap_stream_id", "schema", "key_properties", "replication_key"):
            assert stream[name] == wanted[name]
        selected = wanted["tap_stream_id"] == STREAM
        (of_stream,) = (entry for entry in stream["metadata"] if entry["breadcrumb"] == [])
        assert of_stream["metadata"]["selected"] == selected
        assert not selected or all(entry["metadata"]["selected"] for entry in stream["metadata"])


def told(document: str, containing: str) -> dict[str, Any]:
    """What a document says about the extractor."""
    return dict(yaml.safe_load(block(document, "yaml", containing)))


def test_a_deselected_field_is_not_loaded(project: Project, load_into: Load) -> None:
    warehouse = load_into("jsonl")

    project.in_environment("selecting", select=SELECTED).run(TAP, "target-jsonl")

    rows = warehouse.rows()
    assert len(rows) == 20
    assert all("UpdatedBy" not in row and row["UpdatedOn"] for row in rows)


def test_both_streams_are_loaded_without_personal_data(
    project: Project, make_bench: Callable[..., Bench], load_into: Load
) -> None:
    bench = make_bench(40, allowances=60)
    warehouse = load_into("duckdb")
    project.configure(TAP, bench.settings(record_ids=None))
    selecting = project.in_environment("selecting-both", select=SELECTED)
    pipeline = (TAP, "target-duckdb")

    first = selecting.run(*pipeline)
    for entity in ENTITIES:
        assert emitted(first, entity) == len(bench.world.table(entity))
        assert_loaded(warehouse, bench, entity, without=entity.personal_fields)
    assert [emitted(selecting.run(*pipeline), entity) for entity in ENTITIES] == [0, 0]

    (used, *_) = bench.allowances
    bench.ledger.insert(CoworkerExtraServiceId=used, CreditUsed=7)
    third = selecting.run(*pipeline)

    for entity in ENTITIES:
        assert emitted(third, entity) == 1
        assert_loaded(warehouse, bench, entity, without=entity.personal_fields)
    kept = selecting.meltano("state", "get", f"{selecting.environment}:{TAP}-to-target-duckdb")
    bookmarks = json.loads(kept.stdout)["singer_state"]["bookmarks"]
    assert bookmarks.keys() == {entity.stream for entity in ENTITIES}

    personal = {name for entity in ENTITIES for name in entity.personal_fields}
    tables = {entity: bench.world.table(entity) for entity in ENTITIES}
    answers = ask("duckdb", warehouse, without=personal)
    assert answers.by_customer == expect(bench, tables, warehouse).by_customer


def test_a_stream_map_hashes_a_field(project: Project, bench: Bench, load_into: Load) -> None:
    warehouse = load_into("jsonl")

    project.in_environment("hashing", **told("docs/warehouses.md", "stream_maps:")).run(
        TAP, "target-jsonl"
    )

    hashed = {row["Id"]: row["UpdatedBy"] for row in warehouse.rows()}
    for record_id in bench.ledger:
        email = bench.expected(record_id)["UpdatedBy"]
        assert hashed[record_id] == (
            email and md5(email.encode(), usedforsecurity=False).hexdigest()
        )


def test_a_full_table_tells_which_version_is_complete(project: Project, bench: Bench) -> None:
    full_table = project.in_environment(
        "full-table", **told("docs/reading.md", "replication-method:")
    )

    finished = full_table.meltano("invoke", TAP)

    messages = [json.loads(line) for line in finished.stdout.splitlines()]
    types = Counter(message["type"] for message in messages)
    assert finished.code == 0, finished.stderr
    assert types["RECORD"] == len(bench.ledger)
    assert types["ACTIVATE_VERSION"] == 1


def test_settings_come_from_environment_variables(
    project: Project, bench: Bench, load_into: Load
) -> None:
    warehouse = load_into("jsonl")
    ids = list(bench.ledger)[:5]
    settings = {
        "record_ids": ids,
        "batch_size": 2,
        "request_timeout": 7.5,
        "emit_activate_version_messages": True,
        "on_missing_record": "tombstone",
        "start_date": "2000-01-01",
    }
    project.configure(TAP, settings)

    printed = json.loads(project.meltano("config", "print", TAP).stdout)
    project.run(TAP, "target-jsonl")

    assert {name: printed[name] for name in settings} == {**settings, "request_timeout": "7.5"}
    assert bench.world.user.password not in printed.values()
    assert sorted(row["Id"] for row in warehouse.rows()) == sorted(ids)
    assert max(len(call.ids) for call in bench.world.calls) == 2


def test_more_ids_than_meltano_can_hand_over_come_from_a_file(
    project: Project, make_bench: Callable[..., Bench], load_into: Load
) -> None:
    bench = make_bench(20_000)
    warehouse = load_into("jsonl")
    ids = project.folder / "ids.txt"
    ids.write_text("\n".join(map(str, bench.ledger)), encoding="utf-8")
    project.configure(TAP, bench.settings(record_ids=None, record_ids_file=ids.name))

    project.run(TAP, "target-jsonl")

    assert sorted(row["Id"] for row in warehouse.rows()) == list(bench.ledger)


@pytest.fixture
def dotenv(project: Project) -> Iterator[Path]:
    """Meltano's `.env`, which all tests share."""
    path = project.folder / ".env"
    yield path
    path.unlink(missing_ok=True)


def test_as_many_ids_as_is_told_fit_into_a_variable(
    project: Project, make_bench: Callable[..., Bench], dotenv: Path
) -> None:
    ((fit, too_many),) = re.findall(
        r"(\d+),000 Ids of eight digits went through, with (\d+),000",
        " ".join(section("docs/settings.md", "Ids").split()),
    )
    bench = make_bench(int(fit) * 1_000)
    project.configure(TAP, bench.settings(record_ids=None))

    dotenv.write_text(f"TAP_NEXUDUS_USAGE_RECORD_IDS='{list(bench.ledger)}'\n", encoding="utf-8")
    went_through = project.run(TAP, "target-jsonl")
    ids = list(range(10**7, 10**7 + int(too_many) * 1_000))
    dotenv.write_text(f"TAP_NEXUDUS_USAGE_RECORD_IDS='{ids}'\n", encoding="utf-8")
    refused = project.meltano("run", TAP, "target-jsonl")

    assert emitted(went_through) == len(bench.ledger)
    assert refused.code == 1
    assert "Argument list too long" in refused.stdout + refused.stderr


def test_a_run_whose_tap_was_killed_is_resumed(
    project: Project, make_bench: Callable[..., Bench], load_into: Load
) -> None:
    bench = make_bench(16_000)
    project.configure(TAP, bench.settings(record_ids=None))
    warehouse = load_into("duckdb")
    bench.world.faults.append(hanging_search(after=15))

    with project.started("run", TAP, "target-duckdb") as process:
        wait_until(lambda: len(bench.world.calls) > 15)
        # All that it has gets through, with the STATE after 10,000 records. Killed before, it may
        # leave half a line, which the loader dies of: all records would come again.
        wait_until(lambda: at_rest(process))
        os.kill(child_of(process, TAP), signal.SIGKILL)
        _, stderr = process.communicate(timeout=TIMEOUT)
    bench.world.faults.clear()
    second = project.run(TAP, "target-duckdb")

    assert process.returncode == 1
    assert "Extractor failed" in stderr
    assert 0 < emitted(second) <= 6_000
    assert_loaded(warehouse, bench)


def test_a_run_that_was_killed_with_meltano_is_resumed(
    project: Project, bench: Bench, load_into: Load
) -> None:
    warehouse = load_into("postgres")
    project.configure(TAP, {"page_size": 10})
    bench.world.faults.append(hanging_search(after=1))

    with project.started("run", TAP, "target-postgres") as process:
        wait_until(lambda: len(bench.world.calls) > 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT)
    bench.world.faults.clear()
    refused = project.meltano("run", TAP, "target-postgres")
    project.run("--force", TAP, "target-postgres")

    assert refused.code == 1
    assert "already running" in refused.stderr
    assert_loaded(warehouse, bench)


def a_text(stamp: datetime, count: int) -> dict[str, Any]:
    """A state of a search with so many entries that it is packed, stamped in the hour before."""
    chance = random.Random(count)  # noqa: S311 - data, no secret
    microseconds = (timedelta(microseconds=chance.randrange(3_600_000_000)) for _ in range(count))
    bookmark: dict[str, Any] = {"replication_key_value": stamp.isoformat(), "read_by": "search"}
    remembered = Emitted(bookmark, "UpdatedOn")
    for record_id, ago in zip(chance.sample(range(2**31), count), microseconds, strict=True):
        remembered.add(record_id, timestamps.from_datetime(stamp - ago))
    remembered.save()
    assert bookmark["emitted"].keys() == {TEXT}
    return {"singer_state": {"bookmarks": {STREAM: bookmark}}}


def set_state(project: Project, target: str, state: dict[str, Any]) -> str:
    """Let Meltano keep a state; its id."""
    state_id = f"{project.environment}:{TAP}-to-{target}"
    file = project.folder / "given_state.json"
    file.write_text(json.dumps(state), encoding="utf-8")
    finished = project.meltano("state", "set", "--force", state_id, "--input-file", str(file))
    assert finished.code == 0, finished.stderr
    return state_id


def kept_state(project: Project, state_id: str) -> dict[str, Any]:
    """What Meltano keeps of the ledger."""
    kept = json.loads(project.meltano("state", "get", state_id).stdout)
    return dict(kept["singer_state"]["bookmarks"][STREAM])


def test_the_state_of_a_bulk_change_goes_through_a_small_buffer(
    project: Project, bench: Bench, load_into: Load
) -> None:
    now = datetime.now(timezone.utc)
    for record_id in bench.ledger:
        bench.ledger.change(record_id)
    # A tenth of its default; a line may be half as long.
    project.variables["MELTANO_ELT_BUFFER_SIZE"] = "10485760"
    warehouse = load_into("duckdb")
    state_id = set_state(project, "target-duckdb", a_text(now, 200_000))

    first = project.run(TAP, "target-duckdb")
    second = project.run(TAP, "target-duckdb")

    assert [emitted(first), emitted(second)] == [len(bench.ledger), 0]
    assert_loaded(warehouse, bench)
    kept = kept_state(project, state_id)["emitted"]
    assert count_entries(kept) == 200_000 + len(bench.ledger)
    # By Id they would be 8 MB.
    assert len(json.dumps(kept)) < 2_000_000


def test_a_state_that_has_shrunk_replaces_the_text_though_meltano_merges_them(
    project: Project, bench: Bench, load_into: Load
) -> None:
    project.configure(TAP, bench.settings(batch_size=1, max_retries=1))
    warehouse = load_into("jsonl")
    now = datetime.now(timezone.utc)
    state_id = set_state(project, "target-jsonl", a_text(now, 20_000))
    broken = list(bench.ledger)[8:]
    bench.world.faults.append(Fault(status=500, ids=broken, times=None))

    failed = project.meltano("run", TAP, "target-jsonl")
    merged = kept_state(project, state_id)["emitted"]
    bench.world.faults.clear()
    resumed = project.run(TAP, "target-jsonl")

    assert failed.code == 1
    assert merged.pop(TEXT, "") is None
    assert merged.keys() == set(map(str, list(bench.ledger)[:8]))
    assert emitted(resumed) == len(broken)
    assert_loaded(warehouse, bench)
    assert kept_state(project, state_id)["emitted"].keys() == set(map(str, bench.ledger))


def hanging_search(after: int) -> Fault:
    """After so many pages, no answer to a search."""
    return Fault("hang", endpoints=["search"], skip=after, times=None)


def test_a_full_refresh_that_failed_is_resumed(
    project: Project, bench: Bench, load_into: Load, tmp_path: Path
) -> None:
    warehouse = load_into("jsonl")
    project.configure(TAP, bench.settings(batch_size=1, max_retries=1))
    project.run(TAP, "target-jsonl")
    (tmp_path / "output" / f"{STREAM}.jsonl").unlink()
    broken = list(bench.ledger)[8:]
    bench.world.faults.append(Fault(status=500, ids=broken, times=None))

    refresh = ["--full-refresh", "--state-strategy=overwrite"]
    failed = project.meltano("run", *refresh, TAP, "target-jsonl")
    bench.world.faults.clear()
    resumed = project.run(TAP, "target-jsonl")

    assert failed.code == 1
    assert emitted(resumed) == len(broken)
    assert_loaded(warehouse, bench)
