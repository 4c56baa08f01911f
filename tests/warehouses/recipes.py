"""What docs/recipes.md says, for the tests to do it as it stands there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import documents
import yaml

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, LEDGER, Entity

DOCUMENT = "docs/recipes.md"
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


def blocks(title: str, language: str) -> list[str]:
    """The blocks of code in this language under a heading."""
    under = documents.section(DOCUMENT, title)
    return [block.text for block in documents.blocks(DOCUMENT, language) if block.text in under]


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
(_EXTRACTOR,) = yaml.safe_load(documents.block("README.md", "yaml"))["plugins"]["extractors"]
SELECTED: list[str] = _EXTRACTOR["select"]
"""Both streams, as the README says."""
COLUMNS = {
    entity: _columns(text)
    for entity, text in zip(
        ENTITIES,
        documents.section(DOCUMENT, "Columns and their types").split("\n### ")[1:],
        strict=True,
    )
}
"""Types by column, by engine, of each entity."""
