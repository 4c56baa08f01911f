"""What the server says, made fit for a log: short, on one line; and nothing with secrets."""

from __future__ import annotations

import json
import re
import threading
from codecs import getincrementaldecoder
from urllib.parse import quote, quote_plus

EXCERPT_LENGTH = 200
"""Characters of an answer's body that may be shown."""

READABLE_LENGTH = 4_000
"""Bytes of an answer's body that are looked at: more than are shown, so that no secret is cut."""


RECORD = re.compile(rb'"(?:Id|Records|UpdatedOn)"')
"""What shows that a body holds, or should have held, records."""


class Redactor:
    """Knows the secrets of a run, those configured and each token issued since."""

    def __init__(self) -> None:
        """Start with no secret known."""
        self.shows_records = True
        """Whether the beginning of a body may be shown that holds records, which is personal data.
        """
        self._lock = threading.Lock()
        self._secrets: list[str] = []

    def add(self, *secrets: str | None) -> None:
        """Remember `secrets`, as they are and as they look in a URL or in JSON."""
        known = [secret for secret in secrets if secret]
        looks = {
            look
            for secret in known
            for look in (secret, quote(secret), quote_plus(secret), json.dumps(secret)[1:-1])
        }
        with self._lock:
            # Longest first: a secret that is part of another must not leave the rest of it behind.
            self._secrets = sorted(looks.union(self._secrets), key=len, reverse=True)

    def redact(self, text: str) -> str:
        """`text` with its secrets replaced."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def excerpt(self, body: bytes) -> str:
        """The beginning of an answer's body on one line, secrets replaced before it is cut."""
        if not self.shows_records and RECORD.search(body[:READABLE_LENGTH]):
            return "records, which aren't shown here"
        text = one_line(self.redact(readable(body)))
        return text if len(text) <= EXCERPT_LENGTH else f"{text[:EXCERPT_LENGTH]}…"


def readable(body: bytes) -> str:
    """The beginning of an answer's body as text, in which secrets look as they are.

    In UTF-8 or, where it is something else, Latin-1; what UTF-16 puts between letters goes.
    """
    body = body.lstrip()[:READABLE_LENGTH]
    try:
        # Not final: a character that the cut has halved is left out.
        text = getincrementaldecoder("utf-8-sig")().decode(body)
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    return text.replace("\0", "").strip()


def one_line(text: str) -> str:
    """`text` with control characters escaped, so that it can't forge a line of the log."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
