"""Reads a ledger as the contenders do, over one connection, and throws all away.

So it shows how fast the sandbox is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench.floor import BEGINNING, LEDGER, urls

STAMP = b'"UpdatedOn":"'
TO_THE_MINUTE = len("2025-01-15T10:30")


def bodies(connection: HTTPConnection, config: dict[str, Any]) -> Iterator[bytes]:
    """The answers, unparsed."""
    form = {"grant_type": "password"} | {k: config[k] for k in ("username", "password")}
    form_headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/api/token", urlencode(form), form_headers)
    token = json.load(connection.getresponse())["access_token"]

    def get(path: str) -> bytes:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().read()

    if "record_ids" in config:
        yield from map(get, urls(LEDGER, config["record_ids"], config["batch_size"]))
        return
    since = BEGINNING
    while True:
        yield (body := get(LEDGER.search(since)))
        if b'"HasNextPage":true' not in body:
            break
        last = body.rindex(STAMP) + len(STAMP)
        since = body[last : last + TO_THE_MINUTE].decode()


def main() -> None:
    """Print how many calls were made, in how many seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    config = json.loads(parser.parse_args().config.read_text(encoding="utf-8"))
    connection = HTTPConnection(urlsplit(config["api_url"]).netloc, timeout=60)
    start = time.perf_counter()
    calls = sum(1 for _ in bodies(connection, config))
    print(json.dumps({"calls": calls, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
