"""What can end a run, grouped by who has to act.

Every `TapError` is for the user: its message is one line that says what is wrong and what to do,
without secrets, and becomes the last line on stderr.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping


class TapError(Exception):
    """Ends the run; the message is the user's last line.

    Attributes:
        concerns_all: whether it ends the run at once, for nothing else would go better.
    """

    concerns_all = False


class SettingsError(TapError):
    """A setting, the catalog or the state can't be used as it is."""


class LoginError(TapError):
    """Nexudus refuses the credentials."""

    concerns_all = True


class AccessError(TapError):
    """Nexudus refuses the user: the token is bad, or a role is missing."""


class ApiError(TapError):
    """The API can't be reached, keeps failing, or answers what was not asked."""


class NoLoginError(ApiError):
    """The login gets no usable answer."""

    concerns_all = True


class UnansweredError(ApiError):
    """One call got no usable answer, however often it was tried."""


class UncountedError(ApiError):
    """The API counts more records than it shows, whatever it is asked."""


class ThrottledError(TapError):
    """One call was throttled for longer than `max_throttle_wait`."""

    concerns_all = True


class InvalidRecordError(TapError):
    """A record breaks the schema.

    Attributes:
        field: the one that does.
        expected: what it should be.
        got: the type of JSON that it has instead.
    """

    def __init__(self, message: str, *, field: str = "", expected: str = "", got: str = "") -> None:
        """Keep, next to the words for the user, what can be told without the record's content."""
        super().__init__(message)
        self.field = field
        self.expected = expected
        self.got = got


class MissingRecordsError(TapError):
    """Configured Ids don't exist in Nexudus (`on_missing_record: fail`)."""


class OutputError(TapError):
    """A message could not be written to stdout, or not whole: nothing may follow it."""

    concerns_all = True


class StreamsFailedError(TapError):
    """Some of the streams selected could not be read, or not wholly.

    Attributes:
        errors: what was the matter, by stream.
    """

    def __init__(self, errors: Mapping[str, TapError], *, dispensable: Collection[str]) -> None:
        """Say of each stream what was the matter, and how to do without those `dispensable`."""
        told = "; ".join(f"{stream}: {error}" for stream, error in errors.items())
        advice = (
            f". To do without {' and '.join(dispensable)}, deselect: in meltano.yml under select, "
            'in a catalog by "selected": false'
        )
        super().__init__(told + advice * bool(dispensable))
        self.errors = errors


class RefusalError(Exception):
    """A call that got no usable answer; whoever made it decides what that means.

    Attributes:
        status: the HTTP status, or None where no answer came.
        transient: whether it was tried again and might work later.
        is_html: whether a page for people came, which the API doesn't send.
        login: the settings that the call was made with the token of, where it was with one.
        login_works: whether it isn't for these, for another call of the run was let through with
            them.
        reason: the API's own code for a refused login, `invalid_grant` say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None,
        transient: bool,
        is_html: bool = False,
        login: str | None = None,
        login_works: bool = False,
        reason: str = "",
    ) -> None:
        """Keep what a caller decides by next to the words for the user."""
        super().__init__(message)
        self.status = status
        self.transient = transient
        self.is_html = is_html
        self.login = login
        self.login_works = login_works
        self.reason = reason


class UnknownFormError(Exception):
    """A get many was answered as if its parameter wasn't there: the tenant doesn't know it."""


class SpentError(Exception):
    """As many calls were made as may be: raised instead of making another one."""


class StoppedError(Exception):
    """The run is over: raised in threads that wait or are about to make a call."""


class Terminated(BaseException):
    """A signal asked the run to end; no Exception, so that nothing on the way swallows it."""

    def __init__(self, signum: int) -> None:
        """Keep the signal's number, from which the exit code follows."""
        super().__init__(f"Stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum
