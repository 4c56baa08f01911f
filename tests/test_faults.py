"""The fault campaign: whatever goes wrong over several runs, nothing is lost, nothing leaks.

Each seed is a schedule of its own, see schedules.py, and the number in brackets behind a test's
name. FAULT_SCHEDULES says how many there are; the protocols take turns.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import Bench
from model_target import ModelTarget
from protocols import PROTOCOLS, Protocol
from schedules import CLOCK_SPEED, LOOKBACK_HOURS, PlannedRun, Schedule, Way, describe, draw, quiet
from tap_server import Drain, Order, TapServer
from wide import quick_first

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER, Entity
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.tokens import User

SCHEDULES = int(os.environ.get("FAULT_SCHEDULES", "40"))

LONGEST_RUN = 60.0
"""Seconds, after which a run counts as one that never ends."""

SIGNALS = {
    "terminate": signal.SIGTERM,
    "twice": signal.SIGTERM,
    "interrupt": signal.SIGINT,
    "kill": signal.SIGKILL,
}


@dataclass
class Outcome:
    """What came of a run."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def last_line(self) -> str:
        return (self.stderr.strip().splitlines() or [""])[-1]


class Watched:
    """A stream, and what a target has of it."""

    def __init__(self, bench: Bench, entity: Entity) -> None:
        self.bench = bench
        self.entity = entity
        self.table = bench.world.table(entity)
        self.target = ModelTarget(entity.stream)

    def expected(self, record_id: int) -> dict[str, Any]:
        return self.bench.expected(record_id, self.entity)

    def asked_for(self, configured: set[int], way: Way) -> set[int]:
        """The Ids whose records should be held, and their deletions known."""
        if self.entity == LEDGER:
            return configured
        if way == "search":
            return set(self.table)
        uses = (self.bench.ledger.get(record_id) for record_id in configured)
        return {use["CoworkerExtraServiceId"] for use in uses if use is not None}


class Campaign:
    """A schedule under way."""

    def __init__(
        self, schedule: Schedule, bench: Bench, server: TapServer, protocol: Protocol
    ) -> None:
        self.bench = bench
        self._protocol = protocol
        self.watched = [Watched(bench, LEDGER)]
        if schedule.allowances is not None:
            self.watched.append(Watched(bench, ALLOWANCES))
        self._schedule = schedule
        self._server = server
        self._chance = random.Random(schedule.records)  # noqa: S311 - chance, no secret
        self._switches = len({planned.way for planned in schedule.runs}) > 1
        self._configured = set(bench.ledger)

    def change_ledger(self, planned: PlannedRun) -> None:
        ledger, chance = self.bench.ledger, self._chance
        ids = list(ledger)
        for record_id in chance.sample(ids, min(planned.deletes, len(ids))):
            ledger.delete(record_id)
        for watched in self.watched[1:]:
            ids = list(watched.table)
            for record_id in chance.sample(ids, min(planned.deletes, len(ids))):
                watched.table.delete(record_id)
        ids = list(ledger)
        for record_id in chance.sample(ids, min(planned.updates, len(ids))):
            ledger.change(record_id, CreditUsed=chance.randint(0, 999))
        for _ in range(planned.inserts):
            ledger.insert()
        self._configured.update(ledger)

    def perform(self, planned: PlannedRun) -> Outcome:
        """Run the tap as planned, and let the target take what came."""
        self.bench.world.faults[:] = planned.faults
        record_ids = sorted(self._configured) if planned.way == "id" else None
        settings = {**self._schedule.settings, "record_ids": record_ids}
        if not planned.faults:
            # Nothing hangs, and a busy machine may be slower than what is told from that.
            settings["request_timeout"] = LONGEST_RUN
        config = self.bench.settings(**settings)
        level = self._schedule.log_level
        states = {w.entity.stream: w.target.bookmark for w in self.watched if w.target.bookmark}
        streams = [watched.entity.stream for watched in self.watched]
        args = self._protocol.prepare(config, states, streams)
        order = Order(
            args,
            str(Path.cwd()),
            {**os.environ, "LOGLEVEL": level, "LOG_LEVEL": level},
            CLOCK_SPEED,
            self._schedule.state_every,
            self._schedule.most_plain,
            planned.output if planned.ending == "full" else None,
            protocol=self._protocol.name,
        )
        self.bench.world.calls.clear()
        outcome = self._run(order, planned)
        messages = [*self._protocol.messages(outcome.stdout)]
        for watched in self.watched:
            may_repeat = self._may_repeat(watched)
            for record in watched.target.take(messages, may_repeat=may_repeat):
                if record["_sdc_deleted_at"]:
                    assert watched.table.get(record["Id"]) is None, "told of a deletion"
        return outcome

    def _may_repeat(self, watched: Watched) -> bool:
        """Whether a version may come twice; what is no longer named is forgotten, for example."""
        deletes = any(planned.deletes for planned in self._schedule.runs)
        return self._switches or (watched.entity.named_by is not None and deletes)

    def _run(self, order: Order, planned: PlannedRun) -> Outcome:
        stderr = Drain()
        if planned.ending == "full":
            stdout = None
            out = os.open("output.jsonl", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        else:
            stdout = Drain(planned.output if planned.ending == "close" else None)
            out = stdout.write_end
        pid = self._server.start(order, out, stderr.write_end)
        os.close(out)
        os.close(stderr.write_end)
        self._interfere(pid, planned)
        code = self._server.exit_code()
        written = Path("output.jsonl").read_bytes() if stdout is None else stdout.finish()
        return Outcome(code, written, stderr.finish().decode())

    def _interfere(self, pid: int, planned: PlannedRun) -> None:
        """Send the signal planned when its moment comes; end a run that doesn't end."""
        deadline = time.monotonic() + LONGEST_RUN
        signum = SIGNALS.get(planned.ending)
        calls = self.bench.world.calls
        while signum is not None and not self._server.has_ended(0.001):
            if len(calls) >= planned.calls or time.monotonic() > deadline:
                time.sleep(planned.delay)
                for _ in range(2 if planned.ending == "twice" else 1):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signum)
                break
        if not self._server.has_ended(deadline - time.monotonic()):
            os.kill(pid, signal.SIGKILL)
            pytest.fail("the run doesn't end")

    def assert_fits(self, planned: PlannedRun, outcome: Outcome) -> None:
        """Exit code and last words fit what happened, and nobody is left with half a line."""
        code, last_line = outcome.code, outcome.last_line
        signum = SIGNALS.get(planned.ending)
        if code < 0:
            # By SIGKILL or a second signal; before anything was done, or after everything was; and
            # by the first, as Airbyte's clients want it.
            assert code == -(signum or 0)
            done = outcome.stdout.splitlines()[-1:]
            killed = code == -signal.SIGKILL or planned.ending == "twice"
            assert killed or self._protocol.name == "airbyte" or is_state(done)
            return
        assert "This is a bug" not in outcome.stderr + outcome.stdout.decode(errors="replace")
        assert "Traceback" not in outcome.stderr or self._schedule.log_level == "DEBUG"
        if code > 128:
            assert code == 128 + (signum or 0)
            assert "Stopped by SIG" in last_line or planned.ending == "twice"
        elif code == 1:
            told = self._protocol.ends_in_words(outcome.stdout, last_line)
            # What it has to say, a reader that went away or a full disk hasn't taken.
            assert told or planned.ending in {"close", "full"}
        else:
            assert code == 0
            # A pipe takes more than its reader ever reads.
            if planned.ending != "close":
                self.assert_all_held(planned)
        if self._protocol.name == "singer":
            whole = code in {0, 1, 130, 143} and planned.ending not in {"twice", "close", "full"}
            if whole and outcome.stdout:
                assert is_state(outcome.stdout.splitlines()[-1:]) or code > 128

    def assert_all_held(self, planned: PlannedRun) -> None:
        for watched in self.watched:
            for record_id in watched.asked_for(self._configured, planned.way):
                if watched.table.get(record_id) is not None:
                    assert watched.target.holds(watched.expected(record_id)), record_id
                elif self._deletions_come(planned):
                    assert watched.target.has_deleted(record_id), record_id

    def assert_nothing_lost(self, planned: PlannedRun) -> None:
        """Each record is held, or the state will bring it; so is each deletion."""
        lookback = timedelta(hours=LOOKBACK_HOURS) if planned.way == "search" else None
        for watched in self.watched:
            target = watched.target
            for record_id in watched.asked_for(self._configured, planned.way):
                if watched.table.get(record_id) is not None:
                    record = watched.expected(record_id)
                    assert target.holds(record) or target.state_brings(record, lookback), record
                elif self._deletions_come(planned):
                    known = str(record_id) in target.emitted
                    assert known or target.has_deleted(record_id), record_id

    def _deletions_come(self, planned: PlannedRun) -> bool:
        tombstones = self._schedule.settings["on_missing_record"] == "tombstone"
        return tombstones and planned.way == "id" and not self._switches

    def assert_nothing_leaks(self, outcome: Outcome) -> None:
        user, written = (
            self.bench.world.user,
            outcome.stdout.decode(errors="replace") + outcome.stderr,
        )
        password = user.password
        secrets = [user.username, quote(user.username), password, quote(password), user.totp_secret]
        for secret in [*secrets, json.dumps(password)[1:-1], *self.bench.world.tokens.issued]:
            assert secret is not None
            assert secret not in written
        # What the server said can't have forged a line.
        assert "\x1b" not in outcome.stderr
        assert "\nCRITICAL | all is well" not in outcome.stderr


def is_state(lines: list[bytes]) -> bool:
    """Whether these are STATE messages, or none."""
    return all(json.loads(line)["type"] == "STATE" for line in lines)


class AdvancingTime:
    """Stamps of changes, each some minutes after the one before."""

    def __init__(self, chance: random.Random) -> None:
        self._moment = datetime(2026, 1, 5, 9, tzinfo=timezone.utc)
        self._chance = chance

    def __call__(self) -> datetime:
        self._moment += timedelta(seconds=self._chance.choice((0.001, 30, 600, 2_000)))
        return self._moment


@pytest.mark.parametrize("seed", quick_first(12, range(SCHEDULES)))
def test_nothing_is_lost_and_nothing_leaks(
    tap_server: TapServer, make_bench: Callable[..., Bench], seed: int
) -> None:
    schedule = draw(seed)
    protocol = PROTOCOLS[seed % len(PROTOCOLS)]
    print(protocol.name, describe(schedule))  # noqa: T201 - shown when it fails
    now = AdvancingTime(random.Random(seed))  # noqa: S311 - chance, no secret
    ledger, allowances = tenant_tables(schedule.records, schedule.allowances or 0, seed, now=now)
    bench = make_bench(
        ledger=ledger,
        allowances=allowances,
        user=User("leaky.user@example.com", 'pä"ss wörd+/&', "JBSWY3DPEHPK3PXP"),
        throttled=schedule.throttled,
        time_scale=1 / CLOCK_SPEED,
        get_many_role=schedule.get_many_role,
        **schedule.tenant,
    )
    bench.world.tokens.lifetime = 1e9
    bench.config["totp_secret"] = bench.world.user.totp_secret
    campaign = Campaign(schedule, bench, tap_server, protocol)

    for planned in [*schedule.runs, quiet(schedule.runs[0].way)]:
        campaign.change_ledger(planned)
        outcome = campaign.perform(planned)
        print(outcome.code, outcome.last_line)  # noqa: T201
        campaign.assert_fits(planned, outcome)
        campaign.assert_nothing_lost(planned)
        campaign.assert_nothing_leaks(outcome)

    campaign.assert_all_held(schedule.runs[0])
