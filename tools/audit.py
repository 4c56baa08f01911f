"""Looks each pinned version up in PyPI's list of known vulnerabilities and of yanked releases.

pip-audit asks the same service, but for each version's own page, which mirrors of PyPI lack; the
project's page, which they have, tells of the newest version. Pins are the newest ones, as a rule;
of the others it is only said that they could not be audited.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from pip._internal.models.index import PyPI

PIN = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Audit:
    """What is held against one version; `known` is False where that can't be told."""

    pin: str
    known: bool
    findings: list[str]


def audit(name: str, version: str) -> Audit:
    """Ask for one version."""
    answer = requests.get(f"{PyPI.pypi_url}/{name}/{version}/json", timeout=60)
    if answer.status_code == requests.codes.not_found:
        answer = requests.get(f"{PyPI.pypi_url}/{name}/json", timeout=60)
    answer.raise_for_status()
    project: dict[str, Any] = answer.json()
    known = project["info"]["version"] == version
    found = [
        f"{vulnerability['id']}, fixed in {', '.join(vulnerability['fixed_in']) or 'none yet'}: "
        f"{vulnerability['link']}"
        for vulnerability in project["vulnerabilities"]
    ]
    if project["info"]["yanked"]:
        found.append(f"yanked: {project['info']['yanked_reason']}")
    return Audit(f"{name} {version}", known, found if known else [])


def main(constraints: str) -> int:
    """Audit the pins in the file `constraints`; 1 where there is a finding."""
    pins = PIN.findall(Path(constraints).read_text(encoding="utf-8"))
    with ThreadPoolExecutor(8) as pool:
        audits = list(pool.map(lambda pin: audit(*pin), pins))
    unknown = [one.pin for one in audits if not one.known]
    found = [f"{one.pin}: {finding}" for one in audits for finding in one.findings]
    if unknown:
        print(f"Not audited, being older than the newest version: {', '.join(unknown)}")
    print(*found, f"{len(pins) - len(unknown)} versions audited, {len(found)} findings", sep="\n")
    return 1 if found or len(unknown) == len(pins) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
