"""The README's commands, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import run_tap_with

from tap_nexudus_usage.nexudus.entities import ENTITIES
from tap_nexudus_usage.sandbox.tokens import User

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
IN_CI = {"make demo\n", "make test\n"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what git tracks, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    copy = tmp_path / "checkout"
    for name in listed.stdout.splitlines():
        if (PROJECT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, copy / name)
    return copy


def run(block: str, folder: Path, path: str) -> None:
    """Run the commands of a block; the first that fails ends it."""
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    # Most of what is installed isn't run here.
    env["PIP_NO_COMPILE"] = "1"
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],  # noqa: S607
        cwd=folder,
        env={**env, "PATH": path, "HOME": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def block_with(text: str) -> str:
    (block,) = (block for block in BLOCKS if text in block)
    return block


def test_no_command_is_forgotten() -> None:
    tested = {"pip install .", "uv tool install", "meltano install", "nexudus-sandbox"}
    ci = (PROJECT / ".ci/run").read_text(encoding="utf-8")

    assert {block for block in BLOCKS if block in ci} == IN_CI
    for block in set(BLOCKS) - IN_CI:
        assert any(text in block for text in tested)


@pytest.mark.install
def test_pip_installs_the_tap(checkout: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=240)

    run(block_with("pip install ."), checkout, f"{venv}/bin:{os.environ['PATH']}")


@pytest.mark.install
def test_uv_installs_the_tap(checkout: Path, tmp_path: Path) -> None:
    path = f"{tmp_path}/.local/bin:{BIN}:/usr/local/bin:/usr/bin:/bin"
    block = block_with("uv tool install").replace(
        "install .", f"install --python {sys.executable} ."
    )

    run(block, checkout, path)


@pytest.mark.install
def test_meltano_installs_and_configures_the_tap(checkout: Path) -> None:
    path = f"{BIN}:{os.environ['PATH']}"
    run(block_with("meltano install"), checkout, path)

    check = "meltano config print tap-nexudus-usage > config.json"
    run(check, checkout, path)
    config = json.loads((checkout / "config.json").read_text(encoding="utf-8"))
    assert config["record_ids"] == [87654321, 87654322]
    assert config["on_missing_record"] == "tombstone"
    assert selected_by_meltano(checkout).keys() == {entity.stream for entity in ENTITIES}


def selected_by_meltano(checkout: Path) -> dict[str, set[str]]:
    """The fields that Meltano selects, by stream."""
    dump = "meltano invoke --dump=catalog tap-nexudus-usage > catalog.json"
    run(dump, checkout, f"{BIN}:{os.environ['PATH']}")
    catalog = json.loads((checkout / "catalog.json").read_text(encoding="utf-8"))
    return {
        stream["tap_stream_id"]: {
            entry["breadcrumb"][-1]
            for entry in stream["metadata"]
            if entry["breadcrumb"] and entry["metadata"]["selected"]
        }
        for stream in catalog["streams"]
        if any(not m["breadcrumb"] and m["metadata"]["selected"] for m in stream["metadata"])
    }


@pytest.mark.install
def test_meltano_selects_the_ledger_unless_told(checkout: Path) -> None:
    run("meltano install tap-nexudus-usage", checkout, f"{BIN}:{os.environ['PATH']}")

    by_default = {entity.stream for entity in ENTITIES if entity.selected_by_default}
    assert selected_by_meltano(checkout).keys() == by_default

    # In the place of the definition's, as in an environment.
    (block,) = re.findall(r"```yaml\n(select:.*?)```", README, re.DOTALL)
    path = checkout / "meltano.yml"
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    of_the_tap = {"name": "tap-nexudus-usage", **yaml.safe_load(block)}
    definition["environments"][0]["config"] = {"plugins": {"extractors": [of_the_tap]}}
    path.write_text(yaml.safe_dump(definition), encoding="utf-8")
    for entity in ENTITIES:
        fields = {*entity.schema()["properties"]} - entity.personal_fields
        assert selected_by_meltano(checkout)[entity.stream] == fields


def test_a_second_run_by_hand_emits_nothing_again(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    block = block_with("nexudus-sandbox").replace("8765", str(port)) + "\nkill %1\n"

    run(block, checkout, f"{BIN}:{os.environ['PATH']}")

    first, second = (
        [json.loads(line)["type"] for line in (checkout / name).read_text("utf-8").splitlines()]
        for name in ("first.jsonl", "second.jsonl")
    )
    assert first == ["SCHEMA", "RECORD", "RECORD", "STATE"]
    assert second == ["STATE", "SCHEMA", "STATE"]


def test_the_output_of_the_test_is_what_it_says() -> None:
    section = README.partition("### Test the connection")[2].partition("\n### ")[0]
    (shown,) = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    (command,) = re.findall(r"`(nexudus-sandbox [^`]*)`", section)
    with subprocess.Popen(
        [BIN / "nexudus-sandbox", *command.split()[1:], "--no-throttle", "--stop-after", "60"],
        stdout=subprocess.PIPE,
        text=True,
    ) as sandbox:
        assert sandbox.stdout is not None
        url = sandbox.stdout.readline().split()[-1]
        login = {"username": User.username, "password": User.password}
        finished = run_tap_with({**login, "api_url": url}, "--test")
        sandbox.terminate()

    lines = [line for line in finished.stderr.splitlines() if "| tap_nexudus_usage" in line]
    said = "".join(f"{line.rpartition('| ')[2]}\n" for line in lines)
    assert finished.code == 0
    assert said == shown, f"Put this into the README:\n{said}"
