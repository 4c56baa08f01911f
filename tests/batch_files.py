"""What a run wrote, whether it is in RECORD messages or in the files of BATCH messages."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from outcomes import Run


def content(path: Path) -> bytes:
    """What is in a file, which is compressed where its name says so."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


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
                assert is_gzip == (path.suffix == ".gz")
                for line in content(path).splitlines():
                    yield message["stream"], json.loads(line)
