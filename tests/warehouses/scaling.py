"""What docs/scaling.md tells to write into a Meltano project, and to run there."""

from __future__ import annotations

import json
from pathlib import Path

import documents
import yaml

from warehouses.environments import CHECKOUT, environment
from warehouses.meltano import BIN, TAP, Project, definition_of
from warehouses.warehouse import Warehouse


def blocks(language: str) -> list[str]:
    """The document's blocks of code in a language."""
    return [block.text for block in documents.blocks("docs/scaling.md", language)]


def make_project(folder: Path, warehouse: Warehouse) -> Project:
    """A project with the document's extractors and target-postgres, all installed already."""
    definition = definition_of(CHECKOUT)
    (extractor,) = definition["plugins"]["extractors"]
    del extractor["pip_url"]
    extractor["executable"] = str(BIN / TAP)
    config = json.loads(Path(warehouse.target[-1]).read_text(encoding="utf-8"))
    loader = {
        "name": "target-postgres",
        "namespace": "target_postgres",
        "executable": str(environment("postgres") / "target-postgres"),
        "settings": [{"name": name, "kind": kind_of(value)} for name, value in config.items()],
        "config": config,
    }
    for text in blocks("yaml"):
        block = yaml.safe_load(text)
        definition["plugins"]["extractors"] += block["extractors"]
        for entry in block.get("loaders", ()):
            assert entry["name"] == loader["name"]
            config |= entry["config"]
    definition["plugins"]["loaders"] = [loader]
    project = Project.of(folder, definition)
    installed = project.meltano("install")
    assert installed.code == 0, installed.stderr
    return project


def kind_of(value: object) -> str:
    """Meltano's name for a value's type."""
    return "integer" if isinstance(value, int) else "string"
