"""The bytes of an answer in the one encoding that JSON has."""

from __future__ import annotations

import re

import requests

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.ASCII | re.IGNORECASE)


def as_utf8(answer: requests.Response) -> bytes:
    """The body in UTF-8 where it isn't, and its Content-Type rightly says what else it is in.

    JSON is UTF-8 whatever the header says (RFC 8259), unless something on the way has changed it.
    """
    content = answer.content
    declared = _CHARSET.search(answer.headers.get("Content-Type", ""))
    if declared is None or _decoded(content, "utf-8") is not None:
        return content
    text = _decoded(content, declared[1])
    return content if text is None else text.encode(errors="surrogatepass")


def _decoded(content: bytes, charset: str) -> str | None:
    try:
        return content.decode(charset)
    except (LookupError, ValueError):
        return None
