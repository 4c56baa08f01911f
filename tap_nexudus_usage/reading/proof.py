"""What proves that a record is gone. Nexudus tells of no deletion; only an absence shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AbsentById:
    """A configured Id for which no record came.

    Attributes:
        told_gone: get one, asked again at the end of the run, said 404 or 410 as the API does.
        api_answers: around that, others were read well, or the API answered otherwise.
    """

    told_gone: bool
    api_answers: bool


@dataclass(frozen=True)
class AbsentFromTable:
    """What a target's table has besides the records that a run emitted.

    Attributes:
        left_out: the run left records out: invalid ones, unanswered ones, those before start_date.
        unfindable: there are records that this way of reading can't find.
        holds_all: the distinct Ids reach the number of records that the API counted in this run.
    """

    left_out: bool
    unfindable: bool
    holds_all: bool


def is_proof(evidence: AbsentById | AbsentFromTable) -> bool:
    """Whether a target may be told of a deletion, or the user that a record doesn't exist."""
    if isinstance(evidence, AbsentById):
        return evidence.told_gone and evidence.api_answers
    return evidence.holds_all and not evidence.left_out and not evidence.unfindable
