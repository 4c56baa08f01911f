"""The image and the metadata of the connector: what of them can be looked at without an engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
import yaml
from conftest import Bench
from documents import block
from waiting import wait_until

from airbyte.conversation import READ, Said, Source, parsed
from tap_nexudus_usage.airbyte import spec
from tap_nexudus_usage.airbyte.cli import NAME
from tap_nexudus_usage.nexudus.entities import ENTITIES
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.settings.declared import PROPERTIES
from tools.pythons import find

PROJECT = Path(__file__).parents[2]
INSTALLED = "/opt/source"
REQUIRED = {
    "name",
    "definitionId",
    "connectorType",
    "dockerRepository",
    "dockerImageTag",
    "license",
    "documentationUrl",
    "githubIssueLabel",
    "connectorSubtype",
    "releaseStage",
}
"""By ConnectorMetadataDefinitionV0, as of September 2026; more below are those it knows besides."""
OPTIONAL = {"allowedHosts", "icon", "suggestedStreams", "supportLevel", "tags"}

Instruction = tuple[str, str]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage of the Dockerfile."""
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found: list[list[Instruction]] = []
    for line in filter(None, joined.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest.strip()))
    return found


def values(stage: list[Instruction], name: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def pairs(stage: list[Instruction], name: str) -> dict[str, str]:
    """What LABEL and ENV set."""
    words = (word for rest in values(stage, name) for word in shlex.split(rest))
    return dict(word.split("=", 1) for word in words)


def copied() -> list[str]:
    """What the build stage takes of the project."""
    copies = (rest.split() for rest in values(stages()[0], "COPY"))
    return [name for *names, _ in copies for name in names]


def test_the_source_is_run_by_airbyte_in_its_own_folder() -> None:
    build, image = stages()

    (entry,) = values(image, "ENTRYPOINT")
    (command,) = json.loads(entry)
    assert pairs(image, "ENV") == {"AIRBYTE_ENTRYPOINT": command}
    assert command == f"{INSTALLED}/bin/{NAME}"
    assert f"--from=build {INSTALLED} {INSTALLED}" in values(image, "COPY")
    assert values(image, "USER") == ["airbyte"]
    assert values(image, "WORKDIR") == ["/airbyte"]
    (made,) = values(image, "RUN")
    assert "useradd --uid 1000" in made
    assert "--owner airbyte --group airbyte /airbyte" in made
    instructions = [name for name, _ in image]
    assert instructions.index("USER") > max(instructions.index(name) for name in ("RUN", "COPY"))
    assert values(build, "FROM") == [f"{values(image, 'FROM')[0]} AS build"]


def test_python_is_pinned_to_the_patch() -> None:
    for stage in stages():
        assert re.match(r"python:3\.12\.\d+-slim-\w+( |$)", values(stage, "FROM")[0])


def test_name_and_version_are_the_packages() -> None:
    labels = pairs(stages()[-1], "LABEL")
    metadata = read_metadata()

    assert labels["io.airbyte.version"] == metadata["dockerImageTag"]
    assert metadata["dockerImageTag"] == version("tap-nexudus-usage")
    assert labels["io.airbyte.name"] == metadata["dockerRepository"]


def test_what_is_let_into_the_build_is_what_it_takes() -> None:
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == {*copied()}
    for name in copied():
        assert (PROJECT / name).exists()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the steps of the build make of it, in a fresh environment for the image's Python."""
    folder = tmp_path_factory.mktemp("image")
    python = find(["3.12"]) or Path(sys.executable)
    subprocess.run([python, "-m", "venv", folder / "python"], check=True, timeout=240)
    build = folder / "build"
    build.mkdir()
    for name in copied():
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(
                source, build / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
            )
        else:
            shutil.copy(source, build / name)
    env = {
        name: value
        for name, value in os.environ.items()
        if name != "VIRTUAL_ENV" and not name.startswith("PYTHON")
    }
    env["PATH"] = f"{folder}/python/bin:/usr/local/bin:/usr/bin:/bin"
    for step in values(stages()[0], "RUN"):
        finished = subprocess.run(
            ["/bin/sh", "-c", step.replace(INSTALLED, f"{folder}/source")],
            cwd=build,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert finished.returncode == 0, finished.stderr
    return folder / "source"


@pytest.mark.install
def test_its_steps_install_the_source(installed: Path) -> None:
    finished = subprocess.run(
        [installed / "bin" / NAME, "spec"],
        cwd=installed,
        env={"AIRBYTE_ENTRYPOINT": NAME},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    (message,) = parsed(finished.stdout)
    assert message["spec"] == spec.spec()


@pytest.mark.install
def test_only_what_is_pinned_is_in_it_and_nothing_to_build_with(installed: Path) -> None:
    metadata = installed.glob("lib/python3*/site-packages/*.dist-info")
    names = {path.name.removesuffix(".dist-info") for path in metadata}
    found = {"==".join(name.replace("_", "-").rsplit("-", 1)).casefold() for name in names}
    constraints = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {*re.findall(r"^(\S+==\S+)", constraints, re.MULTILINE)}

    own = f"tap-nexudus-usage=={version('tap-nexudus-usage')}"
    assert own in found
    assert found - {own} <= pinned
    for name in ("pip", "uv", "hatchling", "setuptools"):
        assert not [one for one in found if one.startswith(f"{name}==")]


def may_be_first() -> bool:
    """Whether a process can be given process ids of its own, as an engine does."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--fork", "--pid", "true"]
    return (
        unshare is not None
        and not subprocess.run(command, capture_output=True, check=False, timeout=60).returncode
    )


def child_of(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(children.read_text(encoding="utf-8").split()[0])


@pytest.mark.skipif(not may_be_first(), reason="Needs unshare, and the rights to use it")
def test_as_the_first_process_it_ends_on_a_signal(make_bench: Callable[..., Bench]) -> None:
    """Signals whose default is to end a process don't do so to the first of a container."""
    bench = make_bench(60)
    source = Source(bench)
    bench.world.faults.append(Fault("hang", endpoints=("many",), skip=2, times=None))
    source.prepare(batch_size=10, max_concurrent_requests=1)
    command = ["unshare", "--fork", "--pid", "--kill-child"]
    module = [sys.executable, "-m", "tap_nexudus_usage.airbyte.cli", *READ]
    with subprocess.Popen([*command, *module], stdout=subprocess.PIPE) as process:
        try:
            wait_until(lambda: len(bench.world.calls) >= 3)
            os.kill(child_of(process), signal.SIGTERM)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()

    assert process.returncode == 128 + signal.SIGTERM
    said = Said(process.returncode, "", parsed(out.decode()))
    assert said.statuses()[-1] == "INCOMPLETE"
    assert len(said.ids()) == said.of("STATE")[-1]["state"]["sourceStats"]["recordCount"]


@pytest.mark.skipif(not may_be_first(), reason="Needs unshare, and the rights to use it")
def test_as_the_first_process_a_check_ends_on_a_signal(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(60)
    login = Fault("hang", endpoints=("token",), times=1)
    bench.world.faults.append(login)
    config = json.dumps(Source(bench).config())
    Path("source.json").write_text(config, encoding="utf-8")
    command = ["unshare", "--fork", "--pid", "--kill-child"]
    check = ["tap_nexudus_usage.airbyte.cli", "check", "--config", "source.json"]
    with subprocess.Popen([*command, sys.executable, "-m", *check]) as process:
        try:
            wait_until(lambda: not login.times)
            os.kill(child_of(process), signal.SIGTERM)
            assert process.wait(timeout=20) == 128 + signal.SIGTERM
        finally:
            process.kill()


# metadata.yaml and the icon


def read_metadata() -> dict[str, Any]:
    metadata = yaml.safe_load((PROJECT / "metadata.yaml").read_text(encoding="utf-8"))
    assert metadata.keys() == {"metadataSpecVersion", "data"}
    assert metadata["metadataSpecVersion"] == "1.0"
    data: dict[str, Any] = metadata["data"]
    return data


def test_the_metadata_has_what_airbytes_registry_takes() -> None:
    metadata = read_metadata()

    assert metadata.keys() == REQUIRED | OPTIONAL
    assert str(UUID(metadata["definitionId"])) == metadata["definitionId"]
    assert metadata["connectorType"] == "source"
    assert metadata["connectorSubtype"] == "api"
    assert metadata["releaseStage"] == "alpha"
    assert metadata["supportLevel"] == "community"
    assert metadata["dockerRepository"].endswith(f"/{NAME}")


def test_the_metadata_says_what_package_and_spec_say() -> None:
    metadata = read_metadata()
    hub = yaml.safe_load(
        (PROJECT / "plugins/extractors/tap-nexudus-usage.yml").read_text(encoding="utf-8")
    )
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    told = spec.spec()

    assert metadata["documentationUrl"] == told["documentationUrl"]
    assert metadata["documentationUrl"] == f"{hub['repo']}/blob/main/docs/airbyte.md"
    assert f'license = "{metadata["license"]}"' in pyproject
    assert metadata["name"] == told["connectionSpecification"]["title"] == hub["label"]
    by_default = [entity.stream for entity in ENTITIES if entity.selected_by_default]
    assert metadata["suggestedStreams"] == {"streams": by_default}
    host = str(PROPERTIES["api_url"]["default"]).removeprefix("https://")
    assert metadata["allowedHosts"] == {"hosts": [host, "${api_url}"]}


def test_the_command_told_builds_this_version() -> None:
    build, push = block("docs/airbyte.md", "sh", "docker build").splitlines()
    image = f"/{NAME}:{version('tap-nexudus-usage')}"

    assert build.endswith(f"{image} .")
    assert push.endswith(image)
    assert build.split()[-2] == push.split()[-1]


def test_the_icon_is_a_drawing_and_nothing_else() -> None:
    root = ET.parse(PROJECT / read_metadata()["icon"]).getroot()  # noqa: S314 - it is our own

    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "rect", "g", "path", "circle"}
