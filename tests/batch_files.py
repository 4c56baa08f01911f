"""What a run wrote, whether it is in RECORD messages or in the files of BATCH messages."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from outcomes import Run

GZIP = b"\x1f\x8b"
"""How a gzip file begins."""


def content(path: Path) -> bytes:
    """What is in a file, compressed or not; the name of one that isn't ours proves nothing."""
    raw = path.read_bytes()
    return gzip.decompress(raw) if raw.startswith(GZIP) else raw


def records(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record with its stream, in order; a file has to be as its BATCH message says."""
    for message in run.messages:
        if message["type"] == "RECORD":
            yield message["stream"], message["record"]
        elif message["type"] == "BATCH":
            assert message["encoding"]["format"] == "jsonl"
            is_gzip = message["encoding"].get("compression") == "gzip"
            for url in message["manifest"]:
                path = Path(unquote(urlparse(url).path))
                assert is_gzip == (path.suffix == ".gz") == path.read_bytes().startswith(GZIP)
                for line in content(path).splitlines():
                    yield message["stream"], json.loads(line)
