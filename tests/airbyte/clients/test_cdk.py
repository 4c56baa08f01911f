"""The standard tests of Airbyte's CDK: of the command, and of what stands for an image of it.

Those of an image run where there is a docker; the one that they find here runs the command itself.
Left out is the one that asks Airbyte's registry for a published version.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from conftest import Bench
from warehouses.environments import CHECKOUT, environment

from airbyte.clients.command import ENVIRONMENTS, SCRIPTS, executable
from airbyte.conversation import Source
from tap_nexudus_usage.nexudus.entities import LEDGER
from tap_nexudus_usage.sandbox.tokens import User

pytestmark = pytest.mark.airbyte

PYTHONS = ("3.11", "3.12", "3.13", "3.10")
"""Those that the CDK's version of pytest runs on."""

# Of secrets, they look for those only that are long and have a digit.
PASSWORD = "correct horse 2025"

# Of each section the configs, and what else is said of them.
SECTIONS: dict[str, dict[str, dict[str, str]]] = {
    "spec": {"by_id": {}, "by_search": {}},
    "connection": {
        "by_id": {"status": "succeed"},
        "by_search": {"status": "succeed"},
        "wrong_password": {"status": "failed"},
        "no_role": {"status": "failed"},
        "unreachable": {"status": "exception"},
    },
    "discovery": {"by_id": {}},
    "basic_read": {"by_id": {}, "by_search": {}},
    "full_refresh": {"by_search": {}},
}

WITHOUT_CONFIG = ("test_spec", "test_docker_image_build_and_spec")

SECTION_OF = {
    "test_check": "connection",
    "test_docker_image_build_and_check": "connection",
    "test_discover": "discovery",
    "test_docker_image_build_and_discover": "discovery",
    "test_config_matches_spec": "spec",
    "test_docker_image_build_and_config_matches_spec": "spec",
    "test_basic_read": "basic_read",
    "test_docker_image_build_and_read": "basic_read",
    "test_fail_read_with_bad_catalog": "basic_read",
}
"""Of each test that is run with each config, the section without which it skips a config."""


@pytest.fixture
def configs(make_bench: Callable[..., Bench]) -> dict[str, Any]:
    user = User(password=PASSWORD)
    without = User(password=PASSWORD, roles=user.roles - {LEDGER.read_role, LEDGER.list_role})
    source = Source(make_bench(30, allowances=20, user=user))
    return {
        "by_id": source.config(),
        "by_search": source.config(record_ids=None),
        "wrong_password": source.config(password="correct horse 2026"),
        "no_role": Source(make_bench(5, user=without)).config(),
        "unreachable": source.config(api_url="http://127.0.0.1:1", max_retries=1),
    }


@pytest.fixture
def connector(configs: dict[str, Any], tmp_path: Path) -> Path:
    """A connector's folder, as the tests want one."""
    folder = tmp_path / "source-nexudus-usage"
    folder.mkdir()
    sections = {
        section: {"tests": [{"config_path": f"{name}.json", **more} for name, more in of.items()]}
        for section, of in SECTIONS.items()
    }
    files = {
        **{f"{name}.json": json.dumps(config) for name, config in configs.items()},
        "acceptance-test-config.yml": yaml.safe_dump(
            {"test_strictness_level": "high", "acceptance_tests": sections}
        ),
        "metadata.yaml": (CHECKOUT / "metadata.yaml").read_text(encoding="utf-8"),
    }
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    executable(folder)
    return folder


def test_the_standard_tests_pass_or_skip_by_what_is_configured(
    connector: Path, configs: dict[str, Any]
) -> None:
    environment_bin = environment("airbyte_cdk", PYTHONS, ENVIRONMENTS)
    shutil.copy(SCRIPTS / "cdk_standard_tests.py", connector / "test_source.py")
    stand_in = (SCRIPTS / "docker_stand_in.py").read_text(encoding="utf-8")
    docker = connector / "docker"
    docker.write_text(f"#!{environment_bin / 'python'}\n{stand_in}", encoding="utf-8")
    docker.chmod(0o755)
    home = connector.parent / "home"
    home.mkdir()
    report = connector / "report.xml"
    options = [
        "-p",
        "airbyte_cdk.test.standard_tests.pytest_hooks",
        # Of catalogs, what is to become an error is one already.
        "--pythonwarnings=error::airbyte_cdk.test.standard_tests.DiscoveredCatalogWarning",
        "--connector-image=stand-in",
        "--read-from-streams=all",
        "--read-scenarios=by_id,by_search",
        "--deselect=test_source.py::TestSource::test_docker_image_spec_backward_compatibility",
    ]

    finished = subprocess.run(
        [environment_bin / "pytest", "-v", "-rs", *options, f"--junit-xml={report}"],
        cwd=connector,
        env={
            "HOME": str(home),
            "TMPDIR": str(connector.parent),
            "PATH": f"{connector}:{environment_bin}:/usr/bin:/bin",
            "NO_PROXY": "127.0.0.1",
            "DO_NOT_TRACK": "1",
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=600,
    )

    told = finished.stdout + finished.stderr
    assert report.exists(), told
    outcomes = {}
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest has written it
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcomes[case.attrib["name"]] = kinds.pop() if kinds else "passed"
    expected = dict.fromkeys(WITHOUT_CONFIG, "passed")
    for test, section in SECTION_OF.items():
        for name in configs:
            outcome = "passed" if name in SECTIONS[section] else "skipped"
            expected[f"{test}['{name}' Test Scenario]"] = outcome
    assert outcomes == expected, told
    assert finished.returncode == 0, told
