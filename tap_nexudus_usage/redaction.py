"""What the server says, made fit for a log: short, on one line; and nothing with secrets."""

from __future__ import annotations

import html
import json
import re
import threading
from codecs import getincrementaldecoder

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
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, *secrets: str | None) -> None:
        """Remember `secrets`, as they are and as they look in a URL, in JSON or in HTML."""
        with self._lock:
            self._secrets.update(secret for secret in secrets if secret)
            if self._secrets:
                # Longest first: one that is part of another must not leave the rest of it behind.
                longest_first = sorted(self._secrets, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(_looks, longest_first)))

    def redact(self, text: str) -> str:
        """`text` with its secrets replaced."""
        return text if self._pattern is None else self._pattern.sub("***", text)

    def excerpt(self, body: bytes) -> str:
        """The beginning of an answer's body on one line, secrets replaced before it is cut."""
        if not self.shows_records and RECORD.search(body[:READABLE_LENGTH]):
            return "records, which aren't shown here"
        text = one_line(self.redact(readable(body)))
        return text if len(text) <= EXCERPT_LENGTH else f"{text[:EXCERPT_LENGTH]}…"


def _looks(secret: str) -> str:
    """A regular expression for a secret: each writer escapes other characters, and otherwise."""
    return "".join(map(_looks_of_character, secret))


def _looks_of_character(char: str) -> str:
    if char.isascii() and char.isalnum():
        return char
    in_url = "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    units = char.encode("utf-16-be", "surrogatepass").hex()
    in_json = "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
    escaped = (in_url, in_json, f"&#{ord(char)};", f"&#x{ord(char):x};", html.escape(char))
    short = (json.dumps(char)[1:-1], f"\\{char}", "+" if char == " " else char)
    either_case = "|".join(map(re.escape, escaped))
    # A backslash may be the first half of what it is escaped as.
    looks = sorted({char, *short}, key=len, reverse=True)
    return f"(?:(?i:{either_case})|{'|'.join(map(re.escape, looks))})"


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
