"""What the tests share: a sandbox over HTTP, and ways to run the tap against it."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from outcomes import Finished, Run
from tap_server import Order, TapServer
from wide import mark_crossings

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.nexudus import entities
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER, Entity
from tap_nexudus_usage.sandbox.allowances import Allowances
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.records import Ledger, Table
from tap_nexudus_usage.sandbox.server import Sandbox
from tap_nexudus_usage.sandbox.tenant import Tenant
from tap_nexudus_usage.sandbox.tokens import User
from tap_nexudus_usage.sandbox.world import World
from tap_nexudus_usage.singer.tap import TapNexudusUsage

SEED = 20250115


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests are wide before those are left out."""
    mark_crossings(items)


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what stays; to look through it takes a tenth."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let it look at the end: what duckdb is made with would tell of leaks."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def seed() -> Iterator[int]:
    """Make chance repeatable; pytest prints the line with a failure."""
    print(f"seed: {SEED}")  # noqa: T201
    random.seed(SEED)
    return SEED


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, .env or netrc of the machine reaches a test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Without bytecode each process would compile the tap anew.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    for name in ("LOGLEVEL", "TAP_NEXUDUS_USAGE_LOGLEVEL", "SINGER_SDK_LOG_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@cache
def date_times(entity: Entity) -> tuple[str, ...]:
    """An entity's fields that hold one, but for what the tap itself adds."""
    properties = entity.schema()["properties"].items()
    found = (name for name, schema in properties if schema.get("format") == "date-time")
    return tuple(name for name in found if not name.startswith("_sdc_"))


class FastTap(TapNexudusUsage):
    """The tap with its throttle's time and backoff a thousand times as fast."""

    clock_speed = 1_000.0


@dataclass
class Bench:
    """A sandbox, and the tap configured for it."""

    sandbox: Sandbox
    tap_class: type[TapNexudusUsage] = FastTap
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.sandbox.world

    @property
    def ledger(self) -> Ledger:
        return self.sandbox.world.ledger

    @property
    def allowances(self) -> Table:
        return self.sandbox.world.table(ALLOWANCES)

    def settings(self, **settings: Any) -> dict[str, Any]:
        """The tap's config, for all Ids unless told otherwise; None removes a setting."""
        config = {
            "username": self.world.user.username,
            "password": self.world.user.password,
            "api_url": self.sandbox.url,
            "record_ids": list(self.ledger),
            "requests_per_minute": 0,
            **self.config,
            **settings,
        }
        return {name: value for name, value in config.items() if value is not None}

    def run(
        self,
        *,
        state: dict[str, Any] | None = None,
        catalog: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Run:
        """Sync in this process; an error is kept, not raised."""
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        error: BaseException | None = None
        with contextlib.redirect_stdout(stdout):
            try:
                tap = self.tap_class(
                    config=self.settings(**settings),
                    state=json.loads(json.dumps(state or {})),
                    catalog=catalog,
                )
                tap.sync_all()
            except Exception as raised:  # noqa: BLE001 - for the test to judge
                error = raised
        stdout.flush()
        lines = stdout.buffer.getvalue().split(b"\n")[:-1]
        # A float would hide which decimal was written.
        messages = [json.loads(line, parse_float=Decimal) for line in lines]
        return Run(messages, error, lines)

    def read(self, **settings: Any) -> Run:
        """Sync, and raise what goes wrong."""
        run = self.run(**settings)
        if run.error is not None:
            raise run.error
        return run

    def count_calls(self) -> int:
        """The calls since this was last asked."""
        count = len(self.world.calls)
        self.world.calls.clear()
        return count

    def expected(self, record_id: int, entity: Entity = LEDGER) -> dict[str, Any]:
        """The record as it should leave the tap; decimals are as the API wrote them."""
        record = dict(self.world.table(entity).get(record_id) or {})
        for name in date_times(entity):
            stamp = record[name]
            record[name] = timestamps.canonical(stamp) if stamp and stamp.strip() else None
        for name in entity.json_text_fields:
            if record[name] is not None:
                record[name] = json.dumps(record[name], ensure_ascii=False, separators=(",", ":"))
        return {**record, "_sdc_deleted_at": None}


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    """Start sandboxes that end with the test."""
    with contextlib.ExitStack() as stack:

        def make(
            records: int = 20,
            *,
            ledger: Ledger | None = None,
            allowances: int | Allowances | None = None,
            user: User | None = None,
            **options: Any,
        ) -> Bench:
            """A number of allowances is of those that the ledger made here uses."""
            if isinstance(allowances, int):
                assert ledger is None
                ledger, allowances = tenant_tables(records, allowances, SEED)
            if allowances is not None:
                options["others"] = {ALLOWANCES: allowances, **options.get("others", {})}
            ledger = Ledger(records, SEED) if ledger is None else ledger
            of_tenant = {field.name for field in fields(Tenant)} & options.keys()
            tenant = Tenant(**{name: options.pop(name) for name in of_tenant})
            world = World(ledger, user=user or User(), tenant=tenant, **options)
            return Bench(stack.enter_context(Sandbox(world)))

        yield make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A sandbox of twenty records."""
    return make_bench()


@pytest.fixture
def price(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the ledger a decimal, Price, which it hasn't; for a run in this process."""
    schemas = Path(shutil.copytree(entities.SCHEMAS, tmp_path / "schemas"))
    schema = entities.LEDGER.schema()
    schema["properties"]["Price"] = {"type": ["number", "null"]}
    (schemas / f"{entities.LEDGER.stream}.json").write_text(json.dumps(schema), encoding="utf-8")
    monkeypatch.setattr(entities, "SCHEMAS", schemas)


@cache
def shared_tap_server() -> TapServer:
    """The process that taps are forked from, one for all tests of a worker."""
    server = TapServer()
    atexit.register(server.__exit__)
    return server.__enter__()


@pytest.fixture
def tap_server() -> TapServer:
    return shared_tap_server()


def run_tap(*args: str, env: dict[str, str] | None = None) -> Finished:
    """Run the tap's command line as a process of its own, where any warning is an error."""
    order = Order(args, environment=env or dict(os.environ), clock_speed=FastTap.clock_speed)
    return shared_tap_server().run(order)


def run_tap_with(config: dict[str, Any], *args: str, env: dict[str, str] | None = None) -> Finished:
    """The same, with a config file."""
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")
    return run_tap("--config", "config.json", *args, env=env)


MEASURED = """
import sys
from tap_nexudus_usage.cli import main
code = main(sys.argv[1:])
# Unlike getrusage's figure, this one doesn't begin with the parent's size.
status = open("/proc/self/status", encoding="utf-8").read()
print(status.split("VmHWM:")[1].split()[0], file=sys.stderr)
sys.exit(code)
"""


def run_measured(config: dict[str, Any], *args: str) -> tuple[Finished, float]:
    """Run the tap as a process; what it did, and its peak memory in MiB."""
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-c", MEASURED, "--config", "config.json", *args]
    finished = subprocess.run(command, capture_output=True, check=False, text=True, timeout=300)
    done = Finished(finished.returncode, finished.stdout, finished.stderr)
    assert done.code == 0, done.stderr
    return done, int(done.last_line) / 1024


@pytest.fixture
def kept_back(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Ids to put in of records that get many's arrays have null for, though get one has them."""
    ids: set[int] = set()
    shows = Tenant.shows

    def show(tenant: Tenant, record: bytes, *, in_array: bool = False, **where: bool) -> bytes:
        is_kept_back = in_array and json.loads(record)["Id"] in ids
        return b"null" if is_kept_back else shows(tenant, record, in_array=in_array, **where)

    monkeypatch.setattr(Tenant, "shows", show)
    return ids
