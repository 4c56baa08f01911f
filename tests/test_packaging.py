"""What is shipped works where nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from conftest import Bench
from documents import DOCUMENTS, links, links_in, parsed

from tap_nexudus_usage.nexudus.entities import ENTITIES

PROJECT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"
SCHEMAS = [f"schemas/{entity.stream}.json" for entity in ENTITIES]


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command in an environment without traces of this one."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    }
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build = [UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable]
    run(*build, "--sdist", "--out-dir", folder, PROJECT, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
        assert all(any(name.endswith(schema) for name in names) for schema in SCHEMAS)
        shipped = {name.partition("/")[2] for name in names}
        assert {*DOCUMENTS} <= shipped
    run(*build, "--wheel", "--out-dir", folder, sdist, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def new_environment(folder: Path, *install: str | Path) -> Path:
    """The bin folder of a fresh environment with the tap in it."""
    run(UV, "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
    pip = [UV, "pip", "install", "--quiet", "--python", folder]
    run(*pip, "--constraint", PROJECT / "constraints.txt", *install, cwd=folder.parent)
    return folder / "bin"


def assert_tap_works(bin_folder: Path, bench: Bench, folder: Path) -> None:
    tap = bin_folder / "tap-nexudus-usage"
    streams = json.loads(run(tap, "--discover", cwd=folder))["streams"]
    for stream, path in zip(streams, SCHEMAS, strict=True):
        schema = json.loads((PROJECT / path).read_text(encoding="utf-8"))
        assert stream["schema"]["properties"].keys() == schema["properties"].keys()
    assert json.loads(run(tap, "--about", "--format=json", cwd=folder))["settings"]
    config = folder / "config.json"
    config.write_text(json.dumps(bench.settings()), encoding="utf-8")
    lines = run(tap, "--config", config, cwd=folder).splitlines()
    assert sum('"RECORD"' in line for line in lines) == len(bench.ledger)


@pytest.mark.install
def test_the_wheel_holds_the_schema_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {f"tap_nexudus_usage/{schema}" for schema in SCHEMAS} <= {*names}
    assert not [name for name in names if name.startswith(("tests", "demo", "schemas"))]


@pytest.mark.install
def test_what_pypi_shows_leads_into_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name), policy=default)
    repository = metadata["Project-URL"].partition(", ")[2].partition("/blob/")[0]
    shown = [target for _, target in links_in(parsed(metadata.get_content()))]
    here = [target for _, target in links("README.md")]

    assert metadata["Description-Content-Type"] == "text/markdown"
    assert len(shown) == len(here) > 30
    for target, own in zip(shown, here, strict=True):
        if "://" in own:
            assert target == own
        else:
            kind = "raw" if own.endswith(".svg") else "blob"
            assert target == f"{repository}/{kind}/main/{own}"


@pytest.mark.install
def test_the_wheel_works_in_an_empty_environment(wheel: Path, bench: Bench, tmp_path: Path) -> None:
    assert_tap_works(new_environment(tmp_path / "venv", wheel), bench, tmp_path)


@pytest.mark.install
def test_an_editable_install_works(bench: Bench, tmp_path: Path) -> None:
    bin_folder = new_environment(tmp_path / "venv", "--editable", PROJECT)

    assert_tap_works(bin_folder, bench, tmp_path)


@pytest.mark.install
def test_the_sandbox_command_comes_with_its_extra(wheel: Path, tmp_path: Path) -> None:
    bin_folder = new_environment(tmp_path / "venv", f"{wheel}[sandbox]")

    assert "double of the Nexudus API" in run(
        bin_folder / "nexudus-sandbox", "--help", cwd=tmp_path
    )
