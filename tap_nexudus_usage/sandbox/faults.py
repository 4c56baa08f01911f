"""Faults on demand: which calls go wrong, how, and how often."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

Endpoint = Literal["token", "me", "one", "many", "search"]
Kind = Literal[
    "answer",
    "reset",
    "reset_in_body",
    "truncate",
    "stall",
    "duplicate",
    "omit",
    "hang",
    "refuse",
    "expire_token",
]


@dataclass
class Fault:
    """One way to go wrong.

    Attributes:
        kind: `answer` with `status`, `body` and `headers`; `reset` the connection before an answer
            or within its body; `truncate` the body of the good answer, or let it `stall` halfway
            for `seconds`; `duplicate` the records in it, or `omit` one of more than two, with its
            number where `uncounted`; `hang` for `seconds`, then answer well; `refuse` connections
            for `seconds`, having ended all there are; `expire_token`: all access tokens expire just
            before the call.
        endpoints: on which calls; empty: on all.
        streams: only on calls for one of these streams' entities; empty: whatever is called.
        ids: only on calls for one of these Ids; empty: whatever they ask for.
        unless_ids: not on calls for one of these Ids.
        min_ids: only on calls for so many Ids or more.
        skip: so many calls that it would befall go well first.
        times: how many calls it befalls; None: for ever.
    """

    kind: Kind = "answer"
    status: int = 500
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 3_600.0
    uncounted: bool = False
    endpoints: Collection[Endpoint] = ()
    streams: Collection[str] = ()
    ids: Collection[int] = ()
    unless_ids: Collection[int] = ()
    min_ids: int = 0
    skip: int = 0
    times: int | None = 1

    def befalls(self, endpoint: Endpoint, stream: str | None, ids: Collection[int]) -> bool:
        """Whether it befalls this call; counts the call if so."""
        if self.times == 0 or not self._concerns(endpoint, stream, ids):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def _concerns(self, endpoint: Endpoint, stream: str | None, ids: Collection[int]) -> bool:
        return (
            (not self.endpoints or endpoint in self.endpoints)
            and (not self.streams or stream in self.streams)
            and (not self.ids or not set(self.ids).isdisjoint(ids))
            and set(self.unless_ids).isdisjoint(ids)
            and len(ids) >= self.min_ids
        )
