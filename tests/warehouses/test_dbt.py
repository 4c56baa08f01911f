"""The recipe's SELECT is a model of dbt's as it stands there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Bench

from warehouses import engines
from warehouses.answers import expect, look
from warehouses.environments import environment
from warehouses.pipeline import Pipeline
from warehouses.recipes import RECIPES, VIEW
from warehouses.warehouse import Warehouse

pytestmark = pytest.mark.warehouse


def write_project(folder: Path, warehouse: Warehouse) -> None:
    """A project of dbt's with the one model."""
    schema, _, model = VIEW.partition(".")
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
    (folder / "models").mkdir(parents=True)
    (folder / "models" / f"{model}.sql").write_text(RECIPES["postgres"].view, encoding="utf-8")
    for name, content in (("dbt_project", project), ("profiles", profiles)):
        (folder / f"{name}.yml").write_text(yaml.safe_dump(content), encoding="utf-8")


def test_dbt_makes_the_view(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make_bench(30)
    ids = list(bench.ledger)
    with engines.postgres(tmp_path) as warehouse:
        pipeline = Pipeline(bench, warehouse, tmp_path)
        pipeline.run()
        bench.ledger.change(ids[0], CreditUsed=7)
        bench.ledger.delete(ids[1])
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
        look(warehouse).assert_equal(expect(bench, bench.ledger, warehouse))
