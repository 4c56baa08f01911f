"""docs/first-morning.md, step by step: its commands, what they write, what happens in between."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conftest import Bench

from tap_nexudus_usage.nexudus.entities import ALLOWANCES
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.records import Table

DOCUMENT = Path(__file__).parents[1] / "docs" / "first-morning.md"


def tables() -> dict[str, Table]:
    """What the document's sandbox holds: that of the command at its end."""
    ledger, allowances = tenant_tables(5_000, 2_000, seed=1)
    return {"ledger": ledger, "allowances": allowances}


_STEP = re.compile(
    r"<!-- meanwhile: (?P<event>[^\n]+) -->"
    r"|```sh\n(?P<commands>.*?)```(?:\n\n```text\n(?P<said>.*?)```)?",
    re.DOTALL,
)

_LINES = (
    # When it was written, and how long things took.
    (re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z ", re.MULTILINE), ""),
    (re.compile(r"\b\d+\.\d s$", re.MULTILINE), "… s"),
    # By which Meltano and its SDK begin.
    (
        re.compile(
            r"^.*\] meltano +(Meltano \d|Environment 'dev'|Skipping parse).*\n", re.MULTILINE
        ),
        "",
    ),
    # What psql pads a table with.
    (re.compile(r" +$", re.MULTILINE), ""),
)


@dataclass(frozen=True)
class Step:
    """Something that happens in Nexudus, or commands and what they write if it is shown."""

    event: str | None
    commands: str | None
    said: str | None


def steps(document: str) -> list[Step]:
    """All steps of a document, in its order."""
    found = _STEP.finditer(document)
    return [Step(match["event"], match["commands"], match["said"]) for match in found]


def with_outputs(document: str, said: Mapping[str, list[str]]) -> str:
    """The document with what commands wrote; `said` has it by the commands, in order."""
    left = {commands: [*outputs] for commands, outputs in said.items()}

    def replace(match: re.Match[str]) -> str:
        if match["said"] is None:
            return match[0]
        return f"```sh\n{match['commands']}```\n\n```text\n{left[match['commands']].pop(0)}```"

    return _STEP.sub(replace, document)


def normal(output: str) -> str:
    """What commands wrote, without what differs from run to run."""
    for pattern, instead in _LINES:
        output = pattern.sub(instead, output)
    return output.strip("\n") + "\n"


def _lack_roles(bench: Bench) -> None:
    user = bench.world.user
    user.roles -= {ALLOWANCES.read_role, ALLOWANCES.list_role}


def _give_roles(bench: Bench) -> None:
    bench.world.user.roles |= {ALLOWANCES.read_role, ALLOWANCES.list_role}


def _book(bench: Bench) -> None:
    for record_id in [*bench.ledger][::1_500][:3]:
        used = bench.ledger.get(record_id)
        assert used is not None
        bench.ledger.change(record_id, CreditUsed=(used["CreditUsed"] or 0) + 30)
    allowances = (bench.allowances.get(record_id) or {} for record_id in bench.allowances)
    in_use = [a["Id"] for a in allowances if a["ChargePeriod"] == 1 and a["BookingId"] is None]
    for allowance in in_use[:2]:
        # Not now, which would show in the chart.
        bench.ledger.insert(
            CoworkerExtraServiceId=allowance,
            CreditUsed=60,
            BookingFromTime="2025-06-02T09:00:00Z",
            BookingToTime="2025-06-02T10:00:00Z",
        )


def _delete(bench: Bench) -> None:
    for record_id in [*bench.ledger][700:2_000:1_000]:
        bench.ledger.delete(record_id)


def _change_password(bench: Bench) -> None:
    bench.world.user.password = "new horse"


EVENTS: Mapping[str, Callable[[Bench], None]] = {
    "the user lacks the roles for the allowances": _lack_roles,
    "the user is given the roles": _give_roles,
    "three uses are corrected and two are new": _book,
    "two uses are deleted": _delete,
    "the password is changed": _change_password,
}
"""What happens in Nexudus between the commands."""
