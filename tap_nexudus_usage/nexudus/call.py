"""A call to the API, and what it needs of an authenticator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import requests


class Authenticator(Protocol):
    """What the transport needs of an authenticator."""

    def __call__(self, request: requests.PreparedRequest, /) -> requests.PreparedRequest:
        """Add the token to the request."""

    def renew(self, stale: requests.PreparedRequest, /) -> bool:
        """Replace the token that `stale` was refused with; False where there is no other."""

    @property
    def settings(self) -> str:
        """The settings that the token is from."""


@dataclass(frozen=True)
class Call:
    """One call to the API, whatever number of tries it takes.

    Attributes:
        what: how it is named to the user, as in "get one of Id 7".
        endpoint: the path without Ids, for metrics.
        form: makes what is sent, for each try once it may be: a one-time password lasts seconds.
        auth: what adds the token; None for the login itself.
    """

    what: str
    endpoint: str
    url: str
    method: str = "GET"
    form: Callable[[], Mapping[str, str]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: Authenticator | None = None
