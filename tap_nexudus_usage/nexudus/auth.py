"""The token's life: password and refresh grants, rotation, renewal, one at a time.

Facts: Nexudus's documentation of authentication.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from math import inf

import requests
from requests.auth import AuthBase
from typing_extensions import override

from tap_nexudus_usage.clock import Clock
from tap_nexudus_usage.errors import LoginError, NoLoginError, RefusalError
from tap_nexudus_usage.nexudus.call import Call
from tap_nexudus_usage.nexudus.grants import Grant, parse
from tap_nexudus_usage.nexudus.transport import Transport

PATH = "/api/token"

EXPIRY_MARGIN = 60.0
"""Seconds before its end that a token is renewed; a tenth of its life where that is less."""


@dataclass(frozen=True)
class Credentials:
    """The ways to log in that are configured; at least one of them."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    totp_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    client_id: str | None = None


@dataclass(frozen=True)
class Login:
    """How a token was come by.

    Attributes:
        kind: `password`, `refresh_token` or, where a ready-made one is used, `access_token`.
        lifetime: seconds; infinity where it isn't known.
    """

    kind: str
    lifetime: float


class TokenAuth(AuthBase):
    """Adds a valid bearer token to requests, getting one first where that is needed.

    Safe to share by threads: one grant at a time, and a token that another thread has just
    replaced is simply used. A login once refused is not tried again, lest the account be locked.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        api_url: str,
        transport: Transport,
        clock: Clock,
        on_rotated: Callable[[str], None] | None = None,
    ) -> None:
        """No call is made before the first request needs a token.

        `on_rotated` is told of the refresh token that takes the place of the one configured.
        """
        self._credentials = credentials
        self._url = f"{api_url}{PATH}"
        self._transport = transport
        self._clock = clock
        self._on_rotated = on_rotated
        self._lock = threading.Lock()
        self._access_token = credentials.access_token
        self._refresh_token = credentials.refresh_token
        self._renew_at = float("inf")
        self._login = Login("access_token", inf)
        self._refused: LoginError | NoLoginError | None = None
        transport.redactor.add(
            credentials.username,
            credentials.password,
            credentials.totp_secret,
            credentials.refresh_token,
            credentials.access_token,
        )

    def log_in(self) -> Login:
        """Get a first token, unless `access_token` is it. Raises LoginError, NoLoginError."""
        with self._lock:
            if self._access_token is None:
                self._grant()
            return self._login

    @property
    def settings(self) -> str:
        """The settings that the present token is from."""
        configured = self._credentials.access_token
        if configured is not None and configured == self._access_token:
            return "access_token"
        return "username and password" if self._credentials.password else "refresh_token"

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token; raises LoginError where none can be had."""
        with self._lock:
            if self._access_token is None or (
                self._clock.now() >= self._renew_at and self._can_renew()
            ):
                self._grant()
            r.headers["Authorization"] = f"Bearer {self._access_token}"
        return r

    def renew(self, stale: requests.PreparedRequest) -> bool:
        """Replace the token that `stale` was refused with, unless another thread already did.

        False where there is nothing to get a new one with (`access_token` alone).
        """
        with self._lock:
            if stale.headers.get("Authorization") == f"Bearer {self._access_token}":
                if not self._can_renew():
                    return False
                self._grant()
        return True

    def _can_renew(self) -> bool:
        return self._refresh_token is not None or self._credentials.password is not None

    def _grant(self) -> None:
        if self._refused is not None:
            raise self._refused
        try:
            grant = self._refresh_or_log_in()
        except (LoginError, NoLoginError) as error:
            self._refused = error
            raise
        self._transport.redactor.add(grant.access_token, grant.refresh_token)
        self._access_token = grant.access_token
        # A grant that brings none leaves the one before in force (RFC 6749).
        self._refresh_token = grant.refresh_token or self._refresh_token
        is_configured = self._credentials.refresh_token is not None
        if grant.refresh_token and is_configured and self._on_rotated is not None:
            self._on_rotated(grant.refresh_token)
        margin = min(EXPIRY_MARGIN, grant.expires_in / 10)
        self._renew_at = self._clock.now() + grant.expires_in - margin

    def _refresh_or_log_in(self) -> Grant:
        if (token := self._refresh_token) is not None:
            try:
                return self._ask("refresh_token", lambda: {"refresh_token": token})
            except RefusalError as refusal:
                # A refresh token lasts 15 days, dies when another process uses it, and isn't
                # worth a failed run while there is a password.
                self._refresh_token = None
                if self._credentials.password is None:
                    raise self._error(
                        refusal, "Get a new refresh_token, or set username and password"
                    ) from refusal
        try:
            return self._ask("password", self._password_form)
        except RefusalError as refusal:
            if self._credentials.totp_secret is None:
                remedy = "Check username and password; with two-factor login, set totp_secret"
            else:
                remedy = "Check username, password and totp_secret, and this machine's clock"
            raise self._error(refusal, remedy) from refusal

    def _password_form(self) -> dict[str, str]:
        credentials = self._credentials
        form = {
            "username": credentials.username or "",
            "password": credentials.password or "",
        }
        if credentials.totp_secret is not None:
            # As late as this: most users have no second factor.
            from tap_nexudus_usage.nexudus.totp import Totp  # noqa: PLC0415

            form["totp"] = Totp(credentials.totp_secret).now()
        return form

    def _ask(self, kind: str, form: Callable[[], dict[str, str]]) -> Grant:
        client_id = self._credentials.client_id
        call = Call(
            what=f"the {kind} grant",
            endpoint=PATH,
            url=self._url,
            method="POST",
            form=lambda: {"grant_type": kind, **form()},
            headers={"client_id": client_id} if client_id else {},
        )
        grant = self._transport.call(call, parse)
        self._login = Login(kind, grant.expires_in)
        return grant

    def _error(self, refusal: RefusalError, remedy: str) -> LoginError | NoLoginError:
        refused = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}
        if refusal.status in refused or (refusal.reason and not refusal.transient):
            return LoginError(f"Login failed: {refusal}. {remedy}.")
        return NoLoginError(
            f"Login failed: {refusal}. Check api_url and the network, or try again later."
        )
