"""What went wrong, as the protocol's error trace tells it, and by whom it can be mended."""

from __future__ import annotations

import traceback
from typing import Any

from tap_nexudus_usage.errors import (
    AccessError,
    ApiError,
    LoginError,
    MissingRecordsError,
    SettingsError,
    StreamsFailedError,
    Terminated,
    ThrottledError,
)
from tap_nexudus_usage.explain import explain

BY_THE_USER = (SettingsError, LoginError, AccessError, MissingRecordsError)
BY_TIME = (ApiError, ThrottledError, Terminated)


def failure_type(error: BaseException) -> str:
    """Who has to act: the user, time, or whoever maintains the source."""
    if isinstance(error, StreamsFailedError):
        kinds = {failure_type(one) for one in error.errors.values()}
        return kinds.pop() if len(kinds) == 1 else "system_error"
    if isinstance(error, BY_THE_USER):
        return "config_error"
    return "transient_error" if isinstance(error, BY_TIME) else "system_error"


def trace(error: BaseException, stream: str | None = None) -> dict[str, Any]:
    """The error of an AirbyteErrorTraceMessage."""
    explanation = explain(error)
    told: dict[str, Any] = {
        "message": explanation.message,
        "internal_message": f"{type(error).__name__}: {explanation.message}",
        "failure_type": failure_type(error),
    }
    if explanation.is_bug:
        told["stack_trace"] = "".join(traceback.format_exception(error))
    if stream is not None:
        told["stream_descriptor"] = {"name": stream}
    return told
