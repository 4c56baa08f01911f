"""The recipe's queries are models of dbt's as it says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Bench

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER
from warehouses import engines
from warehouses.answers import expect, lines, look
from warehouses.environments import environment
from warehouses.pipeline import Pipeline
from warehouses.recipes import BY_CUSTOMER, RECIPES, VIEWS
from warehouses.warehouse import Warehouse

pytestmark = pytest.mark.warehouse

MODEL = "nexudus.credits_by_customer"


def write_project(folder: Path, warehouse: Warehouse) -> None:
    """A project of dbt's with a model for each view, and that of the query on them."""
    schema = "nexudus"
    config = json.loads(Path(warehouse.target[-1]).read_text(encoding="utf-8"))
    output = {
        "type": "postgres",
        "schema": schema,
        "threads": 1,
        "dbname": config["database"],
        **{name: config[name] for name in ("host", "port", "user", "password")},
    }
    profiles = {"here": {"target": "here", "outputs": {"here": output}}}
    project = {"name": "here", "profile": "here", "flags": {"send_anonymous_usage_stats": False}}
    models = {VIEWS[entity]: select for entity, select in RECIPES["postgres"].views.items()}
    models[MODEL] = re.sub(r"\bnexudus\.(\w+)", r"{{ ref('\1') }}", BY_CUSTOMER)
    (folder / "models").mkdir(parents=True)
    for name, select in models.items():
        path = folder / "models" / f"{name.removeprefix(f'{schema}.')}.sql"
        path.write_text(select, encoding="utf-8")
    for name, content in (("dbt_project", project), ("profiles", profiles)):
        (folder / f"{name}.yml").write_text(yaml.safe_dump(content), encoding="utf-8")


def test_dbt_makes_the_views(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make_bench(30, allowances=40)
    with engines.postgres(tmp_path) as warehouse:
        pipeline = Pipeline(bench, warehouse, tmp_path, ENTITIES)
        loaded = pipeline.run().ids_of(ALLOWANCES)
        used, gone, *_ = loaded
        first, second, *_ = bench.ledger
        bench.ledger.insert(CoworkerExtraServiceId=used, CreditUsed=7)
        ids = list(bench.ledger)
        bench.ledger.change(first, CreditUsed=7)
        bench.ledger.delete(second)
        bench.allowances.delete(gone)
        pipeline.run(record_ids=ids, on_missing_record="tombstone")
        write_project(tmp_path / "dbt", warehouse)

        finished = subprocess.run(
            [environment("dbt") / "dbt", "run"],
            cwd=tmp_path / "dbt",
            env={**warehouse.environment, "DBT_PROFILES_DIR": "."},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

        assert finished.returncode == 0, finished.stdout
        there = {LEDGER: list(bench.ledger), ALLOWANCES: [i for i in loaded if i != gone]}
        expected = expect(bench, there, warehouse)
        look(warehouse).assert_equal(expected)
        assert lines(warehouse, f"SELECT * FROM {MODEL}") == expected.by_customer
