"""To read another entity is an entry in `ENTITIES` and a schema file: here one that is made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from outcomes import STREAM, Run
from typing_extensions import override

from tap_nexudus_usage import timestamps
from tap_nexudus_usage.errors import AccessError
from tap_nexudus_usage.nexudus import entities
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.sandbox.records import FIRST_DAY, Record, Table, dotnet
from tap_nexudus_usage.sandbox.tokens import User
from tap_nexudus_usage.singer.tap import TapNexudusUsage

VISIT = Entity(
    name="LighthouseVisit",
    path="/api/lighthouses/lighthousevisits",
    stream="lighthouse_visits",
    json_text_fields=frozenset({"Guests"}),
)
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["Id"],
    "properties": {
        "Id": {"type": "integer"},
        "UniqueId": {"type": ["string", "null"]},
        "Steps": {"type": ["integer", "null"]},
        "Guests": {"type": ["string", "null"]},
        "IsNew": {"type": ["boolean", "null"]},
        "UpdatedOn": {"type": ["string", "null"], "format": "date-time"},
        "_sdc_deleted_at": {"type": ["string", "null"], "format": "date-time"},
    },
}


class Visits(Table):
    """Records that are updated in the order of their Ids."""

    quantity = "Steps"

    @override
    def generate(self, record_id: int) -> Record:
        return {
            "Id": record_id,
            "UniqueId": f"{record_id % 97}-{record_id}",
            "Steps": record_id % 300,
            "Guests": [{"Name": "Päivi"}],
            "IsNew": False,
            "UpdatedOn": dotnet(FIRST_DAY + timedelta(seconds=record_id)),
        }

    def expected(self, record_id: int) -> dict[str, Any]:
        """The record as it should leave the tap."""
        record = dict(self.get(record_id) or {})
        record["UpdatedOn"] = timestamps.canonical(record["UpdatedOn"])
        record["Guests"] = '[{"Name":"Päivi"}]'
        return {**record, "_sdc_deleted_at": None}


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Visits:
    """What makes the tap read visits, and some of them."""
    schemas = Path(shutil.copytree(entities.SCHEMAS, tmp_path / "schemas"))
    (schemas / f"{VISIT.stream}.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    monkeypatch.setattr(entities, "SCHEMAS", schemas)
    monkeypatch.setattr(entities, "ENTITIES", (*entities.ENTITIES, VISIT))
    return Visits(30)


@pytest.fixture
def bench(make_bench: Callable[..., Bench], visits: Visits) -> Bench:
    return make_bench(others={VISIT: visits})


def only_visits() -> dict[str, Any]:
    """A catalog that selects nothing else."""
    catalog: dict[str, Any] = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)
    catalog["streams"] = [entry for entry in catalog["streams"] if entry["stream"] == VISIT.stream]
    return catalog


def records(run: Run, stream: str) -> list[dict[str, Any]]:
    written = (message for message in run.messages if message["type"] == "RECORD")
    return [message["record"] for message in written if message["stream"] == stream]


def test_an_entity_is_searched_beside_the_others(bench: Bench, visits: Visits) -> None:
    first = bench.read(record_ids=None, page_size=10)
    changed = list(visits)[7]
    visits.change(changed, Steps=None)
    second = bench.read(record_ids=None, page_size=10, state=first.state)

    assert [record["Id"] for record in records(first, VISIT.stream)] == list(visits)
    assert {record["Id"] for record in records(first, STREAM)} == set(bench.ledger)
    assert second.records == [visits.expected(changed)]
    assert first.state["bookmarks"].keys() == {STREAM, VISIT.stream}


@pytest.mark.parametrize("batch_size", [1, 200])
def test_an_entity_is_read_by_id(bench: Bench, visits: Visits, batch_size: int) -> None:
    changed, *_, gone = ids = list(visits)
    settings = {"record_ids": ids, "batch_size": batch_size, "on_missing_record": "tombstone"}
    first = bench.read(catalog=only_visits(), **settings)
    expected = [visits.expected(record_id) for record_id in ids]
    visits.change(changed, Steps=7)
    visits.delete(gone)
    second = bench.read(catalog=only_visits(), state=first.state, **settings)

    assert records(first, VISIT.stream) == first.records == expected
    updated, tombstone = second.records
    assert updated == visits.expected(changed)
    assert tombstone["_sdc_deleted_at"] is not None
    assert tombstone == {
        **dict.fromkeys(SCHEMA["properties"]),
        "Id": gone,
        "_sdc_deleted_at": tombstone["_sdc_deleted_at"],
    }


@pytest.mark.parametrize("by_id", [True, False])
def test_the_roles_follow_from_an_entitys_name(
    make_bench: Callable[..., Bench], visits: Visits, *, by_id: bool
) -> None:
    lacking = VISIT.read_role if by_id else VISIT.list_role
    user = User()
    user.roles -= {VISIT.read_role, VISIT.list_role}
    bench = make_bench(others={VISIT: visits}, user=user)

    run = bench.run(catalog=only_visits(), record_ids=list(visits) if by_id else None)

    assert isinstance(run.error, AccessError)
    assert lacking in str(run.error)
    assert run.records == []
