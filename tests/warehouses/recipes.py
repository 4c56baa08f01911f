"""What docs/recipes.md says, for the tests to do it as it stands there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER, Entity
from warehouses.environments import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "recipes.md").read_text(encoding="utf-8")
NAMES = {
    "postgres": "PostgreSQL",
    "duckdb": "DuckDB",
    "jsonl": "JSON Lines",
    "snowflake": "Snowflake",
    "bigquery": "BigQuery",
}
VIEWS = {LEDGER: "nexudus.credit_uses", ALLOWANCES: "nexudus.allowances"}


@dataclass(frozen=True)
class Recipe:
    """A warehouse's: an entry of meltano.yml's loaders, and what to make the views from."""

    loader: dict[str, Any]
    views: dict[Entity, str]

    @property
    def config(self) -> dict[str, Any]:
        """The target's config, as if all of its secrets were in the environment."""
        return dict(self.loader["config"])


def section(title: str) -> str:
    """The text under a heading."""
    return DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    """The blocks of code in this language under a heading."""
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


def block(title: str, language: str) -> str:
    """The only one."""
    (code,) = blocks(title, language)
    return code


def _recipe(title: str) -> Recipe:
    (loader,) = yaml.safe_load(block(title, "yaml"))
    return Recipe(loader, dict(zip(ENTITIES, blocks(title, "sql"), strict=True)))


def _columns(text: str) -> dict[str, dict[str, str]]:
    lines = text.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    (_, *titles), _, *rest = rows
    by_title = {name: dict(zip(titles, types, strict=True)) for name, *types in rest}
    return {
        name: {engine: types[title] for engine, title in NAMES.items()}
        for name, types in by_title.items()
    }


RECIPES = {engine: _recipe(title) for engine, title in NAMES.items()}
CREDITS = block("Credits used per month and room", "sql")
BY_CUSTOMER = block("Credits used per customer, kind and month", "sql")
SELECTED: list[str] = yaml.safe_load(block("The allowances", "yaml"))["select"]
COLUMNS = {
    entity: _columns(text)
    for entity, text in zip(
        ENTITIES, section("Columns and their types").split("\n### ")[1:], strict=True
    )
}
"""Types by column, by engine, of each entity."""
