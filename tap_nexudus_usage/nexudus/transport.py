"""How a call reaches the API: paced, tried again where that helps, its failures put into words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import inf
from typing import Generic, TypeVar

import requests

from tap_nexudus_usage.clock import Clock
from tap_nexudus_usage.errors import RefusalError, SpentError, StoppedError, ThrottledError
from tap_nexudus_usage.nexudus.budget import Budget
from tap_nexudus_usage.nexudus.call import Call
from tap_nexudus_usage.nexudus.charset import as_utf8
from tap_nexudus_usage.nexudus.no_answer import action_for_error, describe_error
from tap_nexudus_usage.nexudus.reactions import (
    Action,
    action_for,
    describe_answer,
    is_html,
    login_error,
    wait_asked_for,
)
from tap_nexudus_usage.nexudus.session import ApiSession, Gate
from tap_nexudus_usage.nexudus.throttle import Throttle
from tap_nexudus_usage.redaction import Redactor

logger = logging.getLogger(__name__)

T = TypeVar("T")


class UnusableAnswerError(Exception):
    """An answer with a status of success that isn't what was asked for; the message says how."""


class HopelessAnswerError(UnusableAnswerError):
    """One that trying again would do more harm to than good."""


@dataclass
class Tally:
    """What a run's calls came to.

    Attributes:
        most: so many may be made, tries again included.
    """

    calls: int = 0
    retries: int = 0
    throttled: int = 0
    most: float = inf


OnAnswer = Callable[[str, int, float], None]
"""Told of each answer: endpoint, HTTP status, seconds. Called from any thread, one at a time."""


class Transport:
    """Makes calls, with one session a thread."""

    def __init__(
        self,
        *,
        clock: Clock,
        throttle: Throttle,
        redactor: Redactor,
        new_session: Callable[[Gate, Callable[[], None]], ApiSession],
        max_retries: int,
        max_throttle_wait: float,
        on_answer: OnAnswer,
    ) -> None:
        """`max_retries` counts the tries of one call in all, `max_throttle_wait` is in seconds."""
        self.redactor = redactor
        self.tally = Tally()
        self._clock = clock
        self._throttle = throttle
        self._new_session = new_session
        self._max_retries = max_retries
        self._max_throttle_wait = max_throttle_wait
        self._on_answer = on_answer
        self._closed = False
        self._login_was_accepted = False
        self._lock = threading.Lock()
        self._local = threading.local()
        self._sessions: list[ApiSession] = []

    def close(self) -> None:
        """From now on nothing more is told of calls still under way, nor done about them."""
        with self._lock:
            self._closed = True
            for session in self._sessions:
                session.close()

    def call(self, call: Call, parse: Callable[[bytes], T], *, tries: int | None = None) -> T:
        """The parsed answer to `call`.

        `parse` raises UnusableAnswerError for an answer that isn't of the kind expected, which
        counts as a transient fault. `tries` overrides `max_retries`. Raises RefusalError where
        trying again didn't or wouldn't help, ThrottledError after `max_throttle_wait`, StoppedError
        when the run is over, SpentError when no call is left.
        """
        budget = Budget(tries or self._max_retries, self._max_throttle_wait)
        while True:
            outcome = self._try_once(call, parse)
            if isinstance(outcome, _Accepted):
                return outcome.value
            if not self._prepare_next_try(call, outcome, budget):
                raise _refusal(call, outcome, budget, login_was_accepted=self._login_was_accepted)

    def _try_once(self, call: Call, parse: Callable[[bytes], T]) -> _Accepted[T] | _Failed:
        try:
            answer = self._send(call)
        except requests.RequestException as error:
            problem = describe_error(error, call.url, self.redactor, self._session().proxy)
            return _Failed(f"{call.what} {problem}", action_for_error(error), None)
        is_login = call.auth is None
        action = action_for(answer, login=is_login)
        problem = f"{call.what} was answered "
        if action is not Action.ACCEPT:
            problem += describe_answer(answer, self.redactor, login=is_login)
            return _Failed(problem, action, answer)
        try:
            value = parse(as_utf8(answer))
        except UnusableAnswerError as error:
            # A body that should have been a token may hold one that the redactor doesn't know.
            excerpt = "" if is_login else self.redactor.excerpt(answer.content)
            problem += f"{answer.status_code} with {error}" + (f": {excerpt}" if excerpt else "")
            hopeless = isinstance(error, HopelessAnswerError)
            return _Failed(problem, Action.REFUSE if hopeless else Action.RETRY, answer)
        self._login_was_accepted |= not is_login
        return _Accepted(value)

    def _prepare_next_try(self, call: Call, failed: _Failed, budget: Budget) -> bool:
        """Do what helps against the failure, waiting included; False where nothing is left."""
        if failed.action is Action.WAIT and failed.answer is not None:
            self._hold(failed, failed.answer, budget)
            return True
        if failed.action is Action.RENEW_TOKEN and failed.answer is not None:
            renewed = (
                call.auth is not None
                and budget.take_renewal()
                and call.auth.renew(failed.answer.request)
            )
            self._count(retries=int(renewed))
            budget.was_renewed |= renewed
            return renewed
        if failed.action is Action.RETRY and budget.take_try():
            self._count(retries=1)
            seconds = budget.next_backoff()
            logger.debug("Trying again in %.1f s: %s", seconds, failed.problem)
            self._clock.wait(seconds)
            return True
        return False

    def _send(self, call: Call) -> requests.Response:
        form = None
        if call.form is not None:
            self._throttle.acquire(post=call.method == "POST", ahead=True)
            form = call.form()
        request = requests.Request(
            call.method, call.url, headers=dict(call.headers), data=form, auth=call.auth
        )
        session = self._session()
        prepared = session.prepare_request(request)
        if self.tally.calls >= self.tally.most:
            raise SpentError
        self._count(calls=1)
        self._local.has_place = form is not None
        answer = session.send(prepared)
        seconds = answer.elapsed.total_seconds() - session.waited
        with self._lock:
            if self._closed:
                raise StoppedError
            self._on_answer(call.endpoint, answer.status_code, max(seconds, 0.0))
        return answer

    def _let_through(self, method: str, /, *, again: bool) -> None:
        again |= self._local.has_place
        self._local.sent_at = self._throttle.acquire(post=method == "POST", again=again)

    def _session(self) -> ApiSession:
        session: ApiSession | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._new_session(
                self._let_through, self._throttle.written
            )
            with self._lock:
                self._sessions.append(session)
        return session

    def _hold(self, failed: _Failed, answer: requests.Response, budget: Budget) -> None:
        self._count(retries=1, throttled=1)
        asked, because = wait_asked_for(answer)
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            self._throttle.learn(sent_at=self._local.sent_at, asked=asked)
        seconds = asked or budget.next_backoff()
        if not budget.take_throttle_wait(seconds):
            message = (
                f"The API throttles for too long: {failed.problem}; it would have to wait "
                f"{seconds:.0f} s more, but max_throttle_wait is {self._max_throttle_wait:.0f} s. "
                "Run again later; what was read so far is kept"
            )
            raise ThrottledError(message)
        because = because if asked else "backing off by itself"
        self._throttle.hold(seconds, f"HTTP {answer.status_code}, {because}")

    def _count(self, *, calls: int = 0, retries: int = 0, throttled: int = 0) -> None:
        with self._lock:
            self.tally.calls += calls
            self.tally.retries += retries
            self.tally.throttled += throttled


@dataclass(frozen=True)
class _Accepted(Generic[T]):
    """The parsed answer of a try that went well."""

    value: T


@dataclass(frozen=True)
class _Failed:
    """What went wrong in a try, what is done about it, and the answer if one came."""

    problem: str
    action: Action
    answer: requests.Response | None


def _refusal(
    call: Call, failed: _Failed, budget: Budget, *, login_was_accepted: bool
) -> RefusalError:
    tried = f" ({budget.tries_made} tries)" if budget.tries_made > 1 else ""
    answer = failed.answer
    reason, _ = ("", "") if answer is None or call.auth else login_error(answer)
    return RefusalError(
        f"{failed.problem}{tried}",
        status=None if answer is None else answer.status_code,
        transient=failed.action is Action.RETRY,
        is_html=answer is not None and is_html(answer),
        login=call.auth.settings if call.auth else None,
        # A token that can't be renewed may have ended since.
        login_works=login_was_accepted
        and (failed.action is not Action.RENEW_TOKEN or budget.was_renewed),
        reason=reason,
    )
