"""Whether what a contender wrote is complete and right; else its timing is worth nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.processes import BenchError
from tap_nexudus_usage import timestamps
from tap_nexudus_usage.emission.records import DELETED_AT
from tap_nexudus_usage.nexudus.entities import LEDGER

DATE_TIMES = ("BookingFromTime", "BookingToTime", "CreatedOn", "UpdatedOn")

Expected = dict[int, int]
"""By Id, the fingerprint of the record: a ledger of records would take gigabytes."""


class _Line(msgspec.Struct):
    """A Singer message, as far as it is looked at."""

    type: str
    record: dict[str, Any] | None = None


def record_id_of(record: bytes) -> int:
    """The Id of a record in JSON."""
    return int(msgspec.json.decode(record)["Id"])


def expect(records: Iterable[bytes]) -> Expected:
    """What has to come, from the ledger's records in JSON."""
    parsed = map(msgspec.json.decode, records)
    return {record["Id"]: fingerprint(record) for record in parsed}


def fingerprint(record: Mapping[str, Any]) -> int:
    """The same for all ways of writing the same record, in this process.

    The tap makes date-times canonical and undocumented fields JSON text; others leave them.
    """
    same = {name: value for name, value in record.items() if name != DELETED_AT}
    for name in DATE_TIMES:
        if same[name] is not None:
            same[name] = timestamps.canonical(same[name])
    for name in LEDGER.json_text_fields:
        if isinstance(same[name], str):
            same[name] = json.loads(same[name])
    return hash(msgspec.json.encode(same, order="deterministic"))


def check(output: Path, expected: Expected) -> bytes:
    """Raise BenchError unless each record expected is there once, and no other; the STATE lines."""
    missing = dict(expected)
    states = []
    for line in _lines(output):
        message = msgspec.json.decode(line, type=_Line)
        if message.type == "STATE":
            states.append(line)
        if message.record is None:
            continue
        record_id = message.record["Id"]
        if record_id not in missing:
            again = "a second time" if record_id in expected else "although not expected"
            raise BenchError(_words(output, f"holds Id {record_id} {again}"))
        if missing.pop(record_id) != fingerprint(message.record):
            raise BenchError(_words(output, f"holds Id {record_id} otherwise than the ledger"))
    if missing:
        raise BenchError(_words(output, f"lacks {len(missing)} records, Id {min(missing)} first"))
    return b"".join(states)


def last_state(states: bytes) -> str:
    """The value of the last of the STATE lines, as JSON."""
    return json.dumps(json.loads(states.splitlines()[-1])["value"])


def _lines(output: Path) -> Iterator[bytes]:
    with output.open("rb") as file:
        yield from file


def _words(output: Path, what: str) -> str:
    return f"{output.name} {what}"
