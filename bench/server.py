"""The sandbox that all contenders read from, as a process of its own."""

from __future__ import annotations

import contextlib
import json
import select
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import trustme

from bench.workloads import Workload
from tap_nexudus_usage.nexudus.entities import ALLOWANCES, LEDGER, Entity

COMMAND = Path(sys.executable).with_name("nexudus-sandbox")
STOP_AFTER = 4 * 3_600
"""Seconds; only for a bench that was killed."""
LONGEST_START = 60.0
"""Seconds."""


@dataclass(frozen=True)
class Server:
    """A sandbox that runs.

    Attributes:
        authority: the file of the authority that has issued its certificate; None: it speaks HTTP.
    """

    url: str
    authority: Path | None

    @property
    def variables(self) -> dict[str, str]:
        """The environment's, by which requests trusts it."""
        return {"REQUESTS_CA_BUNDLE": str(self.authority)} if self.authority else {}

    def records(self, entity: Entity) -> list[msgspec.Raw]:
        """All records, each as its JSON."""
        return msgspec.json.decode(self._call("GET", _path(entity)), type=list[msgspec.Raw])

    def change(self, record_id: int, **fields: Any) -> bytes:
        """Change a record of the ledger; its JSON as it is now."""
        return self._call("PATCH", f"{_path(LEDGER)}/{record_id}", json.dumps(fields).encode())

    def change_all(self) -> None:
        """Stamp all records of the ledger anew, within the last hour."""
        self._call("PATCH", _path(LEDGER), json.dumps({"seconds": 3_600}).encode())

    def named(self) -> dict[int, int]:
        """By the Id of each record of the ledger, that of the allowance that it names."""
        ledger = map(msgspec.json.decode, self.records(LEDGER))
        return {record["Id"]: record["CoworkerExtraServiceId"] for record in ledger}

    def let_none_be_gone(self) -> None:
        """Let the ledger name allowances only that exist: others cost calls to make sure of."""
        named = self.named()
        existing = {msgspec.json.decode(record)["Id"] for record in self.records(ALLOWANCES)}
        others = cycle(sorted(existing.intersection(named.values())))
        for record_id, allowance_id in named.items():
            if allowance_id not in existing:
                self.change(record_id, CoworkerExtraServiceId=next(others))

    def forget_calls(self) -> None:
        """Count calls and connections from 0 again, with the throttle's whole allowance."""
        self._call("DELETE", "/control/calls")

    def count_calls(self) -> dict[str, int]:
        """The API's calls by endpoint, those throttled, and all; and the connections opened."""
        counted = dict(json.loads(self._call("GET", "/control/calls")))
        # Without the one on which it is asked.
        return {**counted, "connections": counted["connections"] - 1}

    def calls(self) -> list[dict[str, Any]]:
        """Each of the API's calls."""
        return list(json.loads(self._call("GET", "/control/calls/each")))

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, body, method=method)
        with self._opener.open(request, timeout=300) as answer:
            return bytes(answer.read())

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        """Without the environment's proxies."""
        context = ssl.create_default_context(cafile=self.authority)
        return urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )


def _path(entity: Entity) -> str:
    return f"/control/{entity.stream}/records"


def certify(authority: Path, certificate: Path) -> None:
    """Write the files of an authority and of the certificate that it issues to the sandbox."""
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(authority)
    issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)


@contextlib.contextmanager
def serve(workload: Workload, folder: Path) -> Iterator[Server]:
    """A sandbox as the workload wants it, its certificate in `folder`; ends with the context."""
    scale = workload.time_scale
    throttle = ["--no-throttle"] if scale is None else ["--throttle", "--time-scale", str(scale)]
    command = [str(COMMAND), "--records", str(workload.records), "--latency", str(workload.latency)]
    command += ["--allowances", str(workload.allowances or 0), *throttle]
    command += ["--stop-after", str(STOP_AFTER)]
    authority = None
    if workload.tls:
        authority, certificate = folder / "authority.pem", folder / "server.pem"
        certify(authority, certificate)
        command += ["--certificate", str(certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                message = "no pipe"
                raise RuntimeError(message)
            is_up, _, _ = select.select([process.stdout], [], [], LONGEST_START)
            if not is_up or not (line := process.stdout.readline()):
                message = "The sandbox didn't start"
                raise RuntimeError(message)
            yield Server(line.split()[-1], authority)
        finally:
            # Not asked to end: nothing would bound the wait for it.
            process.kill()
