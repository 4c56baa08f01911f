"""Reading configured Ids: each is asked for in every run, and the absent once more at its end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import TypeVar

from tap_nexudus_usage.errors import TapError, UnansweredError
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.nexudus.pages import Record
from tap_nexudus_usage.reading.fetch_ahead import fetch_ahead
from tap_nexudus_usage.reading.get_many import Batches
from tap_nexudus_usage.reading.proof import AbsentById, is_proof

T = TypeVar("T")

TIMES_KNOWN = 4
"""How many times running a known record has to come before an absence is told as a deletion: of
several servers behind one address one may be the wrong one."""

MOST_SAMPLED = 20
"""Absences of get many that get one is asked about, where nothing but a line of the log depends."""

Answer = tuple[int, Record | TapError | None]
"""An Id with its record, with None where it has none, with the error where that can't be told."""

Unsettled = dict[int, TapError | None]
"""Ids without a record, those that failed with the error."""


class ByIdReading:
    """A read of configured Ids."""

    def __init__(
        self,
        client: NexudusClient,
        record_ids: Sequence[int],
        *,
        batch_size: int,
        threads: int,
        must_be_proven: Callable[[int], bool],
        on_poll: Callable[[], None],
    ) -> None:
        """`must_be_proven` tells of which Ids an absence would be told as a deletion.

        `on_poll` is called while waiting, see `fetch_ahead`.
        """
        self._batches = Batches(client, batch_size, record_ids)
        self._record_ids = record_ids
        self._threads = threads
        self._must_be_proven = must_be_proven
        self._on_poll = on_poll

    def answers(self) -> Generator[Answer, None, None]:
        """Yield each Id once: those with a record in the order configured, then the others.

        Raises what `NexudusClient.get_one` raises where nothing can be read, and ApiError where
        nothing is found and nothing shows that it is the API that says so.
        """
        unsettled = yield from self._read(self._record_ids)
        if unsettled:
            yield from self._settle(unsettled)

    def _read(self, record_ids: Sequence[int]) -> Generator[Answer, None, Unsettled]:
        """Yield the Ids that have a record; return the others."""
        unsettled: Unsettled = {}
        for ids, found in self._fetch(self._batches.calls(record_ids)):
            for record_id in ids:
                record = found.get(record_id)
                if record is None or isinstance(record, TapError):
                    unsettled[record_id] = record
                else:
                    yield record_id, record
        return unsettled

    def _read_one_by_one(
        self, record_ids: Iterable[int], tries: int | None = None
    ) -> Generator[Answer, None, Unsettled]:
        """The same by get one, whose 404 says that there is no such record."""
        unsettled: Unsettled = {}
        ids = list(record_ids)
        calls = [partial(self._batches.get_one, record_id, tries) for record_id in ids]
        for record_id, record in zip(ids, self._fetch(calls), strict=True):
            if record is None or isinstance(record, TapError):
                unsettled[record_id] = record
            else:
                yield record_id, record
        return unsettled

    def _settle(self, unsettled: Unsettled) -> Generator[Answer, None, None]:
        """Ask once more, now that others were read, and tell what has proved to be gone.

        An answer cut short, a gateway or a hiccup look like an absence.
        """
        self._batches.is_settling = True
        absent = _absent(unsettled)
        failed = {i: error for i, error in unsettled.items() if error is not None}
        times = TIMES_KNOWN if any(map(self._must_be_proven, absent)) else 1
        api_answers = not absent or self._api_answers(times)
        found_more = bool(absent)
        while found_more:
            again = yield from self._read(absent)
            found_more = len(again) < len(absent)
            failed |= {i: error for i, error in again.items() if error is not None}
            absent = _absent(again)
        if failed:
            asked_again = yield from self._read_one_by_one(failed, tries=1)
            failed = {i: error for i, error in asked_again.items() if error is not None}
            absent += _absent(asked_again)
        counting = dict.fromkeys([*filter(self._must_be_proven, absent), *self._sample(absent)])
        asked = yield from self._read_one_by_one(counting)
        others = [record_id for record_id in absent if record_id not in counting]
        if len(asked) < len(counting):
            # What get many kept back of these it may have of the others.
            asked |= yield from self._read_one_by_one(others)
            others = []
        api_answers = api_answers and (not absent or self._api_answers(times))
        left: Unsettled = {**failed, **dict.fromkeys(others), **asked}
        if not self._batches.has_read_well:
            _raise_for_all(left, api_answers=api_answers)
        for record_id, error in left.items():
            evidence = AbsentById(told_gone=record_id in asked, api_answers=api_answers)
            needs_proof = self._must_be_proven(record_id) or not api_answers
            if error is None and needs_proof and not is_proof(evidence):
                yield record_id, _unproven([record_id])
            else:
                yield record_id, error

    def _sample(self, absent: Sequence[int]) -> Sequence[int]:
        """Those that get many left out, or some of very many, for get one to judge."""
        if not self._batches.reads_many:
            return []
        return absent[:: -(-len(absent) // MOST_SAMPLED) or 1]

    def _api_answers(self, times: int) -> bool:
        (answers,) = self._fetch([partial(self._batches.api_answers, times)])
        return answers

    def _fetch(self, calls: Iterable[Callable[[], T]]) -> Generator[T, None, None]:
        results = fetch_ahead(calls, threads=self._threads, on_poll=self._on_poll)
        with closing(results):
            yield from results


def _absent(unsettled: Unsettled) -> list[int]:
    return [record_id for record_id, error in unsettled.items() if error is None]


def _raise_for_all(left: Unsettled, *, api_answers: bool) -> None:
    """Raise where no Id has a record, and that isn't because there are none."""
    for error in left.values():
        if error is not None:
            raise error
    if left and not api_answers:
        raise _unproven(left)


def _unproven(record_ids: Collection[int]) -> UnansweredError:
    ids = (
        f"Id {next(iter(record_ids))} is" if len(record_ids) == 1 else f"{len(record_ids)} Ids are"
    )
    return UnansweredError(
        f"{ids} said not to exist, but nothing shows that it is Nexudus's API that says so: it may "
        "be a gateway. Check api_url and any proxy"
    )
