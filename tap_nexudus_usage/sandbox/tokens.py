"""Who may call: users' credentials, access and refresh tokens."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tap_nexudus_usage.nexudus import entities
from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.nexudus.totp import Totp

REFRESH_TOKEN_LIFETIME = 15 * 86_400.0
"""Seconds."""

READ, LIST = LEDGER.read_role, LEDGER.list_role
"""Of the ledger."""

ANY = "whoever is logged in"


def _all_roles() -> frozenset[str]:
    return frozenset(
        role for entity in entities.ENTITIES for role in (entity.read_role, entity.list_role)
    )


@dataclass
class User:
    """The one user there is."""

    username: str = "api.user@example.com"
    password: str = "correct horse"  # noqa: S105 - the sandbox's
    totp_secret: str | None = None
    roles: frozenset[str] = field(default_factory=_all_roles)


@dataclass
class Tokens:
    """Issues tokens and knows which are good.

    Attributes:
        now: seconds, of a clock of any origin.
        lifetime: seconds that access tokens live.
        announced_lifetime: what `expires_in` says, if not the truth.
        alter: makes what is answered from what would be; an answer otherwise than documented.
        issued: every token ever issued, for those who look for leaks.
    """

    user: User
    now: Callable[[], float]
    lifetime: float = 604_799.0
    announced_lifetime: float | None = None
    alter: Callable[[dict[str, object]], dict[str, object]] = dict
    issued: list[str] = field(default_factory=list)
    grants: int = 0
    _access: dict[str, float] = field(default_factory=dict)
    _refresh: dict[str, tuple[str, float]] = field(default_factory=dict)

    def grant(self, form: Mapping[str, str], client_id: str | None) -> dict[str, object]:
        """Answer a token request; raises PermissionError with the API's error code."""
        client = client_id or self.user.username
        kind = form.get("grant_type")
        if kind == "password":
            self._check_password(form)
        elif kind == "refresh_token":
            self._check_refresh(form, client)
        else:
            raise PermissionError("unsupported_grant_type")  # noqa: EM101
        self.grants += 1
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.issued += [access, refresh]
        self._access[access] = self.now() + self.lifetime
        self._refresh[client] = (refresh, self.now() + REFRESH_TOKEN_LIFETIME)
        return self.alter(
            {
                "access_token": access,
                "token_type": "bearer",
                "expires_in": int(self.announced_lifetime or self.lifetime),
                "refresh_token": refresh,
            }
        )

    def is_good(self, authorization: str | None) -> bool:
        """Whether an Authorization header names a token that has not expired."""
        scheme, _, token = (authorization or "").partition(" ")
        return scheme == "Bearer" and self._access.get(token, 0.0) > self.now()

    def expire_all(self) -> None:
        """Let every access token expire now; refresh tokens stay."""
        self._access.clear()

    def _check_password(self, form: Mapping[str, str]) -> None:
        user = self.user
        good = (form.get("username"), form.get("password")) == (user.username, user.password)
        if good and user.totp_secret is not None:
            good = Totp(user.totp_secret).verify(form.get("totp", ""), valid_window=1)
        if not good:
            raise PermissionError("invalid_grant")  # noqa: EM101

    def _check_refresh(self, form: Mapping[str, str], client: str) -> None:
        token, expires = self._refresh.pop(client, ("", 0.0))
        if not token or token != form.get("refresh_token") or expires <= self.now():
            raise PermissionError("invalid_grant")  # noqa: EM101
