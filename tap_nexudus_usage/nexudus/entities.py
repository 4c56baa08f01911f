"""The entities that are read, as data: to read another is to add it here, and a schema file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entity:
    """An entity of Nexudus's.

    Attributes:
        name: Nexudus's own; its roles and filters follow from it.
        path: of its endpoints.
        stream: how its stream is called, and the file with its JSON schema.
        json_text_fields: undocumented JSON; as JSON text it is what all of the common targets load.
        personal_fields: those that hold, or may hold, personal data.
        selected_by_default: whether it is read unless a catalog says otherwise.
        named_by: where Ids are configured, whose records name the Ids to read; None: they are those
            configured.
    """

    name: str
    path: str
    stream: str
    json_text_fields: frozenset[str] = frozenset({"LocalizationDetails", "CustomFields"})
    personal_fields: frozenset[str] = frozenset({"UpdatedBy"})
    selected_by_default: bool = True
    named_by: NamedBy | None = None

    @property
    def read_role(self) -> str:
        """The role for get one, in the newest edition for get many, too."""
        return f"{self.name}-Read"

    @property
    def list_role(self) -> str:
        """The role for the search, in an older edition for get many, too."""
        return f"{self.name}-List"

    def filter(self, what: str) -> str:
        """A parameter that filters, as in `CoworkerExtraServiceUseHistory_Id`."""
        return f"{self.name}_{what}"

    def schema(self) -> dict[str, Any]:
        """The JSON schema of its records; one type, or one and null, for each property."""
        schema: dict[str, Any] = json.loads((SCHEMAS / f"{self.stream}.json").read_text("utf-8"))
        return schema


@dataclass(frozen=True)
class NamedBy:
    """A field of an entity that holds the Id of a record of another."""

    entity: Entity
    field: str


def _schemas() -> Path:
    """Where the schemas lie: inside the package when installed, beside it in a checkout."""
    inside = Path(__file__).parents[1] / "schemas"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "schemas"


SCHEMAS = _schemas()

LEDGER = Entity(
    name="CoworkerExtraServiceUseHistory",
    path="/api/billing/coworkerextraserviceusehistories",
    stream="coworker_extra_service_use_histories",
)
"""How customers' extra-service credits were consumed."""

ALLOWANCES = Entity(
    name="CoworkerExtraService",
    path="/api/billing/coworkerextraservices",
    stream="coworker_extra_services",
    personal_fields=frozenset({"UpdatedBy", "Notes", "Description", "PurchaseOrder"}),
    selected_by_default=False,
    named_by=NamedBy(LEDGER, "CoworkerExtraServiceId"),
)
"""Whose the credits are, of which kind, in which unit, and how much is left."""

ENTITIES = (LEDGER, ALLOWANCES)
"""One stream each, in the order in which they are read."""
