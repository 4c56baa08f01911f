"""What one call may spend on tries and waits."""

from __future__ import annotations

from collections.abc import Iterator

import backoff

LONGEST_BACKOFF = 60
"""Seconds; the cap of one wait that the server didn't prescribe."""


class Budget:
    """What one call may still spend: transient tries, seconds of throttling, a new token.

    Attributes:
        was_renewed: whether a new token was got for it.
    """

    def __init__(self, tries: int, throttle_seconds: float) -> None:
        """`tries` in all; `throttle_seconds` of waiting where the API throttles."""
        self.tries_made = 1
        self.was_renewed = False
        self._tries = tries
        self._throttle_seconds = throttle_seconds
        self._may_renew = True
        self._backoff = _exponential_backoff()

    def take_try(self) -> bool:
        """Spend another try; False where none is left."""
        if self.tries_made >= self._tries:
            return False
        self.tries_made += 1
        return True

    def take_renewal(self) -> bool:
        """Spend the new token; False where it is spent."""
        may_renew, self._may_renew = self._may_renew, False
        return may_renew

    def take_throttle_wait(self, seconds: float) -> bool:
        """Spend `seconds` of throttling; False where so many aren't left.

        A new token may have ended by then, so another one may be got.
        """
        self._may_renew = True
        self._throttle_seconds -= seconds
        return self._throttle_seconds >= 0

    def next_backoff(self) -> float:
        """Seconds to wait before the next try, at random, longer from one to the next."""
        return next(self._backoff)


def _exponential_backoff() -> Iterator[float]:
    waits = backoff.expo(base=2, factor=1, max_value=LONGEST_BACKOFF)
    next(waits)  # backoff's generators begin with an empty send
    return map(backoff.full_jitter, waits)
