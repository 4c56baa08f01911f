"""What can be selected and mapped, as RECORD and as BATCH, in each kind of run.

Each cell of the table is a run of the real command. What it should come to is what the SDK's
documentation promises for the capability, and both ways of writing have to agree with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import pytest
from batch_files import content, records
from conftest import Bench, run_tap_with
from outcomes import STREAM, Finished

from tap_nexudus_usage.emission import packed
from tap_nexudus_usage.singer.tap import TapNexudusUsage

Record = dict[str, Any]
Emitted = list[tuple[str, Record]]
"""Streams and what is in them, in order."""

ADDRESSES = (b"front.desk@example.com", b"billing@example.com")
HASHED = "md5(UpdatedBy) if UpdatedBy else None"
MARK = "_sdc_deleted_at"


def digest(text: str | None) -> str | None:
    return md5(text.encode(), usedforsecurity=False).hexdigest() if text else None


def without(record: Record, *names: str) -> Record:
    return {name: value for name, value in record.items() if name not in names}


def deselect(catalog: dict[str, Any], *names: str) -> None:
    for entry in catalog["streams"][0]["metadata"]:
        if entry["breadcrumb"][-1:] in [[name] for name in names]:
            entry["metadata"]["selected"] = False


def narrow(catalog: dict[str, Any], *names: str) -> None:
    for name in names:
        del catalog["streams"][0]["schema"]["properties"][name]


@dataclass(frozen=True)
class Capability:
    """One way to shape what leaves the tap.

    Attributes:
        becomes: what a record comes to.
        settings: the tap's.
        shapes_catalog: what is done to the catalog that was discovered.
        hides_addresses: whether no email address may be left.
        keys: of each stream.
    """

    becomes: Callable[[Record], Emitted]
    settings: dict[str, Any] = field(default_factory=dict)
    shapes_catalog: Callable[[dict[str, Any]], None] = lambda _: None
    hides_addresses: bool = True
    keys: tuple[str, ...] = ("Id",)


def mapped(stream_map: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"stream_maps": {STREAM: stream_map, **others}}


CAPABILITIES = {
    "as it is": Capability(lambda r: [(STREAM, r)], hides_addresses=False),
    "deselected": Capability(
        lambda r: [(STREAM, without(r, "UpdatedBy", "SystemId"))],
        shapes_catalog=lambda catalog: deselect(catalog, "UpdatedBy", "SystemId"),
    ),
    "all that can be deselected": Capability(
        lambda r: [(STREAM, {name: r[name] for name in ("Id", "UpdatedOn", MARK)})],
        shapes_catalog=lambda catalog: deselect(
            catalog, *catalog["streams"][0]["schema"]["properties"]
        ),
    ),
    "removed from the schema": Capability(
        lambda r: [(STREAM, without(r, "UpdatedBy"))],
        shapes_catalog=lambda catalog: narrow(catalog, "UpdatedBy"),
    ),
    "hashed": Capability(
        lambda r: [(STREAM, {**r, "UpdatedBy": digest(r["UpdatedBy"])})],
        mapped({"UpdatedBy": HASHED}),
    ),
    "removed by a map": Capability(
        lambda r: [(STREAM, without(r, "UpdatedBy"))], mapped({"UpdatedBy": None})
    ),
    "added": Capability(
        lambda r: [
            (
                STREAM,
                {
                    **without(r, "UpdatedBy"),
                    "who": r["UpdatedBy"]
                    and sha256(b"pepper" + r["UpdatedBy"].encode()).hexdigest(),
                    "hours": None if r["CreditUsed"] is None else r["CreditUsed"] / 60,
                    "stream": STREAM,
                },
            )
        ],
        {
            **mapped(
                {
                    "UpdatedBy": None,
                    "who": "sha256(config['salt'] + UpdatedBy) if UpdatedBy else None",
                    "hours": "CreditUsed / 60 if CreditUsed is not None else None",
                    "stream": "__stream_name__",
                }
            ),
            "stream_map_config": {"salt": "pepper"},
        },
    ),
    "filtered": Capability(
        lambda r: [(STREAM, r)] if r[MARK] or (r["CreditUsed"] or 0) > 60 else [],
        mapped({"__filter__": f"{MARK} is not None or (CreditUsed or 0) > 60"}),
        hides_addresses=False,
    ),
    "filtered by who": Capability(
        lambda r: [(STREAM, r)] if not r["UpdatedBy"] else [],
        mapped({"__filter__": "UpdatedBy is None"}),
    ),
    "nothing but": Capability(
        lambda r: [(STREAM, {name: r[name] for name in ("Id", "CreditUsed", MARK)})],
        mapped({"__else__": None, "Id": "Id", "CreditUsed": "CreditUsed", MARK: MARK}),
    ),
    "renamed": Capability(
        lambda r: [("usage", {**r, "UpdatedBy": digest(r["UpdatedBy"])})],
        mapped({"__alias__": "usage", "UpdatedBy": HASHED}),
    ),
    "doubled": Capability(
        lambda r: [
            (STREAM, without(r, "UpdatedBy")),
            ("usage", {**r, "UpdatedBy": digest(r["UpdatedBy"])}),
        ],
        mapped({"UpdatedBy": None}, usage={"__source__": STREAM, "UpdatedBy": HASHED}),
    ),
    "doubled and one filtered": Capability(
        lambda r: [
            (STREAM, without(r, "UpdatedBy")),
            *(
                [("long", without(r, "UpdatedBy"))]
                if r[MARK] or (r["CreditUsed"] or 0) > 60
                else []
            ),
        ],
        mapped(
            {"UpdatedBy": None},
            long={
                "__source__": STREAM,
                "__filter__": f"{MARK} is not None or (CreditUsed or 0) > 60",
                "UpdatedBy": None,
            },
        ),
    ),
    "only the double": Capability(
        lambda r: [("usage", without(r, "UpdatedBy"))],
        mapped(None, usage={"__source__": STREAM, "UpdatedBy": None}),  # type: ignore[arg-type]
    ),
    "by a pattern": Capability(
        lambda r: [(STREAM, without(r, "UpdatedBy"))],
        {"stream_maps": {"*_histories": {"UpdatedBy": None}, "__else__": None}},
    ),
    "with another key": Capability(
        lambda r: [(STREAM, {**without(r, "UpdatedBy"), "key": str(r["Id"])})],
        mapped({"UpdatedBy": None, "key": "str(Id)", "__key_properties__": ["key"]}),
        keys=("key",),
    ),
    "flattened": Capability(
        lambda r: [(STREAM, r)],
        {"flattening_enabled": True, "flattening_max_depth": 2},
        hides_addresses=False,
    ),
    "flattened, hashed and deselected": Capability(
        lambda r: [
            (STREAM, {**without(r, "SystemId"), "UpdatedBy": digest(r["UpdatedBy"])}),
        ],
        {
            **mapped({"UpdatedBy": HASHED}),
            "flattening_enabled": True,
            "flattening_max_depth": 1,
        },
        lambda catalog: deselect(catalog, "SystemId"),
    ),
}


@pytest.fixture(params=CAPABILITIES)
def capability(request: pytest.FixtureRequest) -> Capability:
    return CAPABILITIES[request.param]


@pytest.fixture(params=["RECORD", "BATCH"])
def written_as(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings for one way of writing."""
    if request.param == "RECORD":
        return {}
    return {
        "batch_config": {
            "encoding": {"format": "jsonl", "compression": "gzip"},
            "storage": {"root": Path("batches").absolute().as_uri()},
            "batch_size": 7,
        }
    }


def assert_as_promised(finished: Finished, capability: Capability, expected: list[Record]) -> None:
    promised = [item for record in expected for item in capability.becomes(record)]
    assert finished.code == 0, finished.stderr
    streams = dict.fromkeys(name for name, _ in promised)
    emitted = list(records(finished.run))
    for stream in streams:
        assert [r for name, r in emitted if name == stream] == [
            r for name, r in promised if name == stream
        ]
    assert len(emitted) == len(promised)
    messages = finished.run.messages
    schemas = {m["stream"]: m for m in messages if m["type"] == "SCHEMA"}
    assert schemas.keys() >= streams.keys()
    for stream, record in promised:
        assert record.keys() == schemas[stream]["schema"]["properties"].keys()
        assert tuple(schemas[stream]["key_properties"]) == capability.keys
    if capability.hides_addresses:
        assert_without_addresses(finished)


def assert_without_addresses(finished: Finished) -> None:
    outputs = [finished.stdout.encode(), finished.stderr.encode()]
    files = [path for path in Path("batches").rglob("*") if path.is_file()]
    outputs += [content(path) for path in files]
    for output in outputs:
        for address in ADDRESSES:
            assert address not in output


@pytest.fixture
def run(
    bench: Bench, capability: Capability, written_as: dict[str, Any]
) -> Callable[..., Finished]:
    """Run the tap, for the capability and written one way."""

    def run(
        state: dict[str, Any] | None = None, method: str = "INCREMENTAL", **settings: Any
    ) -> Finished:
        catalog = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)
        capability.shapes_catalog(catalog)
        catalog["streams"][0]["replication_method"] = method
        Path("catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
        Path("state.json").write_text(json.dumps(state or {}), encoding="utf-8")
        config = bench.settings(**written_as, **capability.settings, **settings)
        return run_tap_with(config, "--catalog", "catalog.json", "--state", "state.json")

    return run


def by_stamp(bench: Bench) -> list[Record]:
    return [bench.expected(record_id) for record_id in bench.ledger.updated_between("", "~")]


@pytest.mark.crossing
@pytest.mark.parametrize("by_id", [True, False], ids=["by Id", "by search"])
def test_incremental(
    bench: Bench, capability: Capability, run: Callable[..., Finished], *, by_id: bool
) -> None:
    ids = list(bench.ledger)
    bench.ledger.change(ids[4], UpdatedBy=None, CreditUsed=120)
    settings = {"record_ids": ids if by_id else None}
    expected = [bench.expected(i) for i in ids] if by_id else by_stamp(bench)

    first = run(**settings)
    bench.ledger.change(ids[7], CreditUsed=600, UpdatedBy=None)
    second = run(first.run.state, **settings)

    assert_as_promised(first, capability, expected)
    assert_as_promised(second, capability, [bench.expected(ids[7])])
    emitted = {str(record["Id"]) for record in expected if capability.becomes(record)}
    if by_id:
        assert first.run.bookmark["emitted"].keys() == emitted
    else:
        assert first.run.bookmark["emitted"].keys() <= emitted


@pytest.mark.crossing
def test_full_table(
    bench: Bench, capability: Capability, run: Callable[..., Finished], written_as: dict[str, Any]
) -> None:
    state = bench.read(record_ids=None).state
    settings = {"record_ids": None, "emit_activate_version_messages": True}

    finished = run(state, "FULL_TABLE", **settings)

    assert_as_promised(finished, capability, by_stamp(bench))
    assert finished.run.state == state
    messages = finished.run.messages
    activated = [m["stream"] for m in messages if m["type"] == "ACTIVATE_VERSION"]
    if written_as:
        assert activated == []
        assert "No ACTIVATE_VERSION is written" in finished.stderr
    else:
        schemas = [m["stream"] for m in messages if m["type"] == "SCHEMA"]
        versions = {m["version"] for m in messages if "version" in m}
        assert activated == schemas
        assert len(versions) == 1


@pytest.mark.crossing
def test_tombstone(bench: Bench, capability: Capability, run: Callable[..., Finished]) -> None:
    ids = list(bench.ledger)
    gone = ids[3]
    bench.ledger.change(gone, CreditUsed=600, UpdatedBy=None)
    settings = {"record_ids": ids, "on_missing_record": "tombstone"}
    first = run(**settings)
    bench.ledger.delete(gone)

    second = run(first.run.state, **settings)
    third = run(second.run.state, **settings)

    marks = [r[MARK] for _, r in records(second.run)]
    assert len(set(marks)) == 1
    names = bench.expected(ids[0]).keys()
    assert_as_promised(second, capability, [{**dict.fromkeys(names), "Id": gone, MARK: marks[0]}])
    assert marks[0] is not None
    assert str(gone) not in packed.unpack(second.run.bookmark["emitted"])
    assert_as_promised(third, capability, [])
