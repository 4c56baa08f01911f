"""All that the sandbox is at a moment: tables, tokens, throttle, faults, and what was called."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER, Entity
from tap_nexudus_usage.sandbox.allowances import Allowances
from tap_nexudus_usage.sandbox.faults import Endpoint, Fault
from tap_nexudus_usage.sandbox.records import Ledger, Table
from tap_nexudus_usage.sandbox.tenant import Tenant
from tap_nexudus_usage.sandbox.throttle import GENERAL, POST, Throttle
from tap_nexudus_usage.sandbox.tokens import Tokens, User
from tap_nexudus_usage.sandbox.turmoil import Turmoil


@dataclass(frozen=True)
class Call:
    """A call that came in, what it was answered (0: nothing), and when the throttle counted it.

    That is in the API's seconds. Of no entity are those for a token or the user.
    """

    endpoint: Endpoint
    entity: Entity | None
    status: int
    ids: tuple[int, ...]
    client_id: str | None
    time: float


@dataclass
class World:
    """The sandbox's state.

    Attributes:
        others: records of other entities; of allowances there are none unless given.
        time_scale: how long a second of the API lasts here, in seconds; for the throttle, its
            Retry-After and the tokens' lives. Latency and hangs are in real seconds.
        latency: seconds before each answer.
        jitter: the share of the latency by which it may be shorter or longer.
        counts_on_arrival: the throttle counts a call before the latency, which is the server's
            then; or else after it, as if it came from the way there.
        longest_query: characters; longer ones are answered `long_query_status` (IIS: 404 or 414).
        get_many_role: the role that get many needs, by its ending; the API's editions differ. None:
            one that nobody has.
        refuse_encoded_brackets: answer 400 to get many with brackets percent-encoded.
        tenant: how it reads what the documents leave open, and what it gets wrong.
        turmoil: changes that happen before each search.
        connections: opened so far; over TLS those whose handshake came to its end.
    """

    ledger: Ledger
    others: Mapping[Entity, Table] = field(default_factory=dict)
    user: User = field(default_factory=User)
    throttled: bool = False
    time_scale: float = 1.0
    latency: float = 0.0
    jitter: float = 0.0
    counts_on_arrival: bool = True
    longest_query: int = 2_048
    long_query_status: int = 404
    get_many_role: Literal["Read", "List"] | None = "Read"
    refuse_encoded_brackets: bool = True
    tenant: Tenant = field(default_factory=Tenant)
    turmoil: Turmoil | None = None
    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        """Make what depends on the options."""
        self.others = {ALLOWANCES: Allowances(0), **self.others}
        self.tokens = Tokens(self.user, self.now)
        self.forget_calls()

    def forget_calls(self) -> None:
        """Begin anew: no call was made yet, and the throttle's allowance is whole."""
        self.calls.clear()
        self.connections = 0
        counting = self.tenant.throttle_counting
        self.throttle = Throttle(self.now, GENERAL if self.throttled else (), counting)
        self.post_throttle = Throttle(self.now, POST if self.throttled else (), counting)

    @property
    def entities(self) -> Collection[Entity]:
        """Those that are served."""
        return (LEDGER, *self.others)

    def table(self, entity: Entity) -> Table:
        """The records of an entity."""
        return self.ledger if entity == LEDGER else self.others[entity]

    def now(self) -> float:
        """Seconds of the API's time."""
        return time.monotonic() / self.time_scale

    def next_latency(self) -> float:
        """Seconds before the next answer."""
        if not self.jitter:
            return self.latency
        return self.latency * self.tenant.chance.uniform(1 - self.jitter, 1 + self.jitter)

    def fault_for(
        self, endpoint: Endpoint, entity: Entity | None, ids: Collection[int]
    ) -> Fault | None:
        """The fault that befalls this call, if any."""
        stream = None if entity is None else entity.stream
        return next((fault for fault in self.faults if fault.befalls(endpoint, stream, ids)), None)

    def count(self) -> Counter[str]:
        """Calls by endpoint and, as `throttled`, those answered `throttle_answer`."""
        counted: Counter[str] = Counter(call.endpoint for call in self.calls)
        counted["throttled"] = sum(
            call.status == self.tenant.throttle_answer for call in self.calls
        )
        counted["all"] = len(self.calls)
        return counted
