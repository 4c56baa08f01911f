"""The least that brings the same records: requests, json, four threads. A floor, not a tap.

No schema, no check of an answer, no retries but for throttling, one STATE at the end. What it
fetches, in which calls, and what it leaves out as known, is what the tap does.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import pool_classes_by_scheme


class Entity(NamedTuple):
    """What is read, and where."""

    name: str
    stream: str
    path: str

    def search(self, since: str, page: int = 1) -> str:
        """What to get: a page of all that was updated since a minute."""
        search = f"{self.path}?page={page}&size=1000&orderBy=UpdatedOn&dir=0"
        return f"{search}&from_{self.name}_UpdatedOn={since}"


LEDGER = Entity(
    "CoworkerExtraServiceUseHistory",
    "coworker_extra_service_use_histories",
    "/api/billing/coworkerextraserviceusehistories",
)
ALLOWANCES = Entity(
    "CoworkerExtraService", "coworker_extra_services", "/api/billing/coworkerextraservices"
)
BEGINNING = "1753-01-01T00:00"
PATH_LIMIT = 1_950
"""Characters, of the 2,000 that a URL may have."""
THREADS = 4
LOOKBACK = timedelta(hours=26)


class LiteralBrackets(HTTPConnection):
    """Nexudus documents the brackets of "get many" as literal; urllib3 encodes them."""

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Send the request line."""
        super().putrequest(method, url.replace("%5B", "[").replace("%5D", "]"), *args, **kwargs)


class LiteralBracketsOverTls(LiteralBrackets, HTTPSConnection):
    """The same over TLS."""


class LiteralBracketsPool(HTTPConnectionPool):
    """The pool of such connections."""

    ConnectionCls = LiteralBrackets


class LiteralBracketsOverTlsPool(HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = LiteralBracketsOverTls


pool_classes_by_scheme.update(http=LiteralBracketsPool, https=LiteralBracketsOverTlsPool)


class Api:
    """Paced calls, with one session a thread."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Log in."""
        self._url = config["api_url"]
        # A second of the API may be less here, where the sandbox's throttle is scaled.
        self._second = config["time_scale"]
        per_minute = config["requests_per_minute"]
        self._gap = 60 / per_minute * self._second if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()
        self._local = threading.local()
        form = {"grant_type": "password"} | {k: config[k] for k in ("username", "password")}
        answer = requests.post(f"{self._url}/api/token", data=form, timeout=60)
        self._token = answer.json()["access_token"]

    def get(self, path: str) -> Any:
        """The parsed answer."""
        while True:
            self._pace()
            answer = self._session().get(self._url + path, timeout=60)
            if answer.status_code != requests.codes.conflict:
                answer.raise_for_status()
                return answer.json()
            time.sleep(int(answer.headers["Retry-After"]) * self._second)

    def _pace(self) -> None:
        if self._gap:
            with self._lock:
                start = max(time.monotonic(), self._next)
                self._next = start + self._gap
            time.sleep(max(start - time.monotonic(), 0))

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["Authorization"] = f"Bearer {self._token}"
        session: requests.Session = self._local.session
        return session


def urls(entity: Entity, ids: list[int], batch_size: int) -> Iterator[str]:
    """What to get: as many Ids at once as fit."""
    if batch_size == 1:
        yield from (f"{entity.path}/{record_id}" for record_id in ids)
        return
    start = 0
    while batch := ids[start : start + batch_size]:
        while len(url := f"{entity.path}/?id=[{','.join(map(str, batch))}]") > PATH_LIMIT:
            batch.pop()
        start += len(batch)
        yield url


def by_id(api: Api, entity: Entity, ids: list[int], batch_size: int) -> Iterator[dict[str, Any]]:
    """The records of some Ids."""
    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(api.get, urls(entity, ids, batch_size)):
            yield from [found] if isinstance(found, dict) else found


def by_search(api: Api, entity: Entity, since: str) -> Iterator[dict[str, Any]]:
    """All records updated since a minute; some come twice. One page is fetched ahead."""
    number = 1
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(api.get, entity.search(since))
        while (page := future.result(600))["HasNextPage"]:
            last = minute(page["Records"][-1])
            since, number = last, number + 1 if last == since else 1
            future = pool.submit(api.get, entity.search(since, number))
            yield from page["Records"]
        yield from page["Records"]


def minute(record: dict[str, Any]) -> str:
    """When the record was updated; to the minute .NET's stamps compare as text."""
    return str(record["UpdatedOn"][:16])


def minute_before(moment: str) -> str:
    """The minute that lies the lookback before."""
    return (datetime.fromisoformat(moment) - LOOKBACK).isoformat(timespec="minutes")


def noting(records: Iterator[dict[str, Any]], named: dict[int, None]) -> Iterator[dict[str, Any]]:
    """The same records; which allowances they name is noted."""
    for record in records:
        named[record["CoworkerExtraServiceId"]] = None
        yield record


def write(
    records: Iterator[dict[str, Any]], stream: str, bookmark: dict[str, Any], *, is_search: bool
) -> None:
    """Write RECORD lines of what isn't known yet, and remember it."""
    emitted: dict[str, str] = bookmark.setdefault("emitted", {})
    newest: str = bookmark.get("newest", "")
    for record in records:
        record_id, updated_on = str(record["Id"]), record["UpdatedOn"]
        if emitted.get(record_id) != updated_on:
            message = {"type": "RECORD", "stream": stream, "record": record}
            sys.stdout.write(json.dumps(message) + "\n")
            emitted[record_id] = updated_on
            newest = max(newest, updated_on[:16])
    bookmark["newest"] = newest
    if is_search and newest:
        horizon = minute_before(newest)
        kept = {key: stamp for key, stamp in emitted.items() if stamp[:16] >= horizon}
        bookmark["emitted"] = kept


def main() -> None:
    """Write RECORD lines and a STATE, as a tap would."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--state", type=Path)
    args = parser.parse_args()
    config = json.loads(args.config.read_text(encoding="utf-8"))
    state = json.loads(args.state.read_text(encoding="utf-8")) if args.state else {}
    bookmarks = state.setdefault("bookmarks", {})

    api = Api(config)
    ids = config.get("record_ids")
    entities = (LEDGER, ALLOWANCES) if config["with_allowances"] else (LEDGER,)
    for entity in entities:
        bookmark = bookmarks.setdefault(entity.stream, {})
        if ids is not None:
            records = by_id(api, entity, ids, config["batch_size"])
        else:
            newest = bookmark.get("newest")
            records = by_search(api, entity, minute_before(newest) if newest else BEGINNING)
        named: dict[int, None] = {}
        if entity is not entities[-1]:
            records = noting(records, named)
        write(records, entity.stream, bookmark, is_search=ids is None)
        ids = None if ids is None else list(named)
    sys.stdout.write(json.dumps({"type": "STATE", "value": state}) + "\n")


if __name__ == "__main__":
    main()
