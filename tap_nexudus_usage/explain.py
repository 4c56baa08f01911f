"""What ended a run, in words: the one place that tells a user's matter from a bug."""

from __future__ import annotations

from dataclasses import dataclass

from tap_nexudus_usage.errors import TapError, Terminated


@dataclass(frozen=True)
class Explanation:
    """What the last line says.

    Attributes:
        is_bug: whether a traceback is of use to whoever reads it.
        message: one line.
        code: the exit code.
    """

    is_bug: bool
    message: str
    code: int


def explain(error: BaseException) -> Explanation:
    """Whether an error that ended the run is a bug, what to say of it, the exit code."""
    if isinstance(error, Terminated):
        message = f"{error}; what was emitted so far won't be emitted again"
        return Explanation(is_bug=False, message=message, code=error.exit_code)
    if isinstance(error, TapError):
        return Explanation(is_bug=False, message=" ".join(str(error).splitlines()), code=1)
    message = f"This is a bug in the tap, please report it: {type(error).__name__}: {error}"
    return Explanation(is_bug=True, message=" ".join(message.splitlines()), code=1)
