"""Whether what a contender wrote is complete and right; else its timing is worth nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.processes import BenchError
from tap_nexudus_usage import timestamps
from tap_nexudus_usage.airbyte import streams
from tap_nexudus_usage.emission.records import DELETED_AT
from tap_nexudus_usage.nexudus.entities import ENTITIES, Entity

Same = Callable[[Any], Any]
"""Of a value, what all ways of writing it have in common."""

Expected = Mapping[str, Mapping[int, int]]
"""By stream and Id, the fingerprint of the record: a ledger of records would take gigabytes."""


OWN = frozenset({DELETED_AT, streams.CURSOR, streams.DELETED})
"""Columns that the protocols add to a record."""


class _Line(msgspec.Struct):
    """A message of Singer's or Airbyte's, as far as it is looked at."""

    type: str
    stream: str = ""
    record: dict[str, Any] | None = None

    def content(self) -> tuple[str, dict[str, Any]] | None:
        """Of a record, the stream and the record itself."""
        if self.record is None:
            return None
        if self.stream:
            return self.stream, self.record
        return self.record["stream"], self.record["data"]


def expect(entity: Entity, records: Iterable[bytes]) -> dict[int, int]:
    """What has to come of an entity, from its records in JSON."""
    same_of = _SAME[entity.stream]
    parsed = map(msgspec.json.decode, records)
    return {record["Id"]: fingerprint(record, same_of) for record in parsed}


def fingerprint(record: Mapping[str, Any], same_of: Mapping[str, Same]) -> int:
    """The same for all ways of writing the same record, in this process.

    The tap makes date-times canonical and undocumented fields JSON text, and keeps all digits of a
    decimal; others leave them, and write decimals as floats.
    """
    same = {name: value for name, value in record.items() if name not in OWN}
    for name, of in same_of.items():
        if same[name] is not None:
            same[name] = of(same[name])
    return hash(msgspec.json.encode(same, order="deterministic"))


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _same_of(entity: Entity) -> dict[str, Same]:
    """By field, what makes values the same that are written otherwise."""
    fields = dict(entity.schema()["properties"])
    del fields[DELETED_AT]
    date_times = [name for name, field in fields.items() if field.get("format") == "date-time"]
    numbers = [name for name, field in fields.items() if "number" in field["type"]]
    return {
        **dict.fromkeys(date_times, timestamps.canonical),
        **dict.fromkeys(numbers, float),
        **dict.fromkeys(entity.json_text_fields, _parsed),
    }


_SAME = {entity.stream: _same_of(entity) for entity in ENTITIES}


def check(output: Path, expected: Expected) -> bytes:
    """Raise BenchError unless each record expected is there once, and no other; the STATE lines."""
    missing = {stream: dict(records) for stream, records in expected.items()}
    states = []
    for line in _lines(output):
        message = msgspec.json.decode(line, type=_Line)
        if message.type == "STATE":
            states.append(line)
        content = message.content()
        if content is None:
            continue
        stream, record = content
        record_id = record["Id"]
        what = f"{stream} Id {record_id}"
        if record_id not in missing.get(stream, {}):
            again = record_id in expected.get(stream, {})
            when = "a second time" if again else "although not expected"
            raise BenchError(_words(output, f"holds {what} {when}"))
        if missing[stream].pop(record_id) != fingerprint(record, _SAME[stream]):
            raise BenchError(_words(output, f"holds {what} otherwise than the sandbox"))
    for stream, ids in missing.items():
        if ids:
            what = f"lacks {len(ids)} records of {stream}, Id {min(ids)} first"
            raise BenchError(_words(output, what))
    return b"".join(states)


def last_state(lines: Iterable[bytes]) -> str:
    """What a runner hands over the next time, as JSON, from the STATE lines."""
    states = [json.loads(line) for line in lines]
    if "value" in states[-1]:
        return json.dumps(states[-1]["value"])
    # Airbyte's are of a stream each.
    of_streams = {s["state"]["stream"]["stream_descriptor"]["name"]: s["state"] for s in states}
    return json.dumps([*of_streams.values()])


def _lines(output: Path) -> Iterator[bytes]:
    with output.open("rb") as file:
        yield from file


def _words(output: Path, what: str) -> str:
    return f"{output.name} {what}"
