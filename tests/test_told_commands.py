"""What documents tell to run or to configure, done as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Bench, run_tap_with
from documents import DOCUMENTS, Block, block, blocks, section
from told import TESTS, TOLD, Told, reads, told_of

from tap_nexudus_usage.nexudus.entities import ENTITIES
from tap_nexudus_usage.sandbox.tokens import User

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
README, TROUBLESHOOTING = "README.md", "docs/troubleshooting.md"
PROJECT_OF_ONES_OWN = {
    "project_id": "own",
    "default_environment": "dev",
    "environments": [{"name": "dev"}],
    "venv": {"backend": "uv"},
}


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


def run(commands: str, folder: Path, path: str, **variables: str) -> str:
    """What the commands of a block say; the first that fails ends it."""
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    # Most of what is installed isn't run here.
    env["PIP_NO_COMPILE"] = "1"
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607
        cwd=folder,
        env={**env, "PATH": path, "HOME": str(folder.parent), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


@pytest.mark.parametrize(
    "shown", BLOCKS, ids=lambda shown: f"{shown.document}: {shown.text.splitlines()[0][:40]}"
)
def test_each_block_has_a_test(shown: Block) -> None:
    told = told_of(shown)
    assert told is not None, "Enter it in tests/told.py"

    file, _, test = told.test.partition("::")
    assert re.search(rf"^def {test}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE)
    assert reads(told.test, told.document)


@pytest.mark.parametrize("told", TOLD, ids=lambda told: f"{told.document}: {told.containing}")
def test_what_has_a_test_is_still_told(told: Told) -> None:
    assert any(told_of(shown) is told for shown in BLOCKS)


def test_ci_runs_what_make_is_told_to() -> None:
    ci = (PROJECT / ".ci/run").read_text(encoding="utf-8")

    told = [block.text for block in blocks(README, "sh", "make ")]
    assert told == ["make demo\n", "make test\n"]
    for command in told:
        assert command in ci


@pytest.mark.install
def test_pip_installs_the_tap(checkout: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=240)

    run(block(README, "sh", "pip install ."), checkout, f"{venv}/bin:{os.environ['PATH']}")


@pytest.mark.install
def test_uv_installs_the_tap(checkout: Path, tmp_path: Path) -> None:
    path = f"{tmp_path}/.local/bin:{BIN}:/usr/local/bin:/usr/bin:/bin"
    told = block(README, "sh", "uv tool install")

    run(told.replace("install .", f"install --python {sys.executable} ."), checkout, path)


@pytest.mark.install
def test_meltano_reads_as_the_readme_says(
    checkout: Path, make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make_bench(30, allowances=20)
    project = tmp_path / "project"
    project.mkdir()
    told = yaml.safe_load(block(README, "yaml", "plugins:"))
    (extractor,) = told["plugins"]["extractors"]
    assert extractor["pip_url"] == "/path/to/tap-nexudus-usage"
    of_here = {"pip_url": str(checkout)}
    plugins = {"extractors": [{**extractor, **of_here}]}
    write_yaml(project / "meltano.yml", {**PROJECT_OF_ONES_OWN, "plugins": plugins})
    login = {
        "TAP_NEXUDUS_USAGE_API_URL": bench.sandbox.url,
        "TAP_NEXUDUS_USAGE_USERNAME": bench.world.user.username,
        "TAP_NEXUDUS_USAGE_PASSWORD": bench.world.user.password,
    }
    path = f"{BIN}:{os.environ['PATH']}"

    said = run(block(README, "sh", "meltano install"), project, path, **login)
    read = run("meltano invoke tap-nexudus-usage 2> log", project, path, **login)
    wrong = {**login, "TAP_NEXUDUS_USAGE_PASSWORD": "wrong"}
    refused = run("! meltano invoke tap-nexudus-usage 2>&1 > output", project, path, **wrong)

    assert "Login: allowed by password" in said
    (critical,) = (line for line in refused.splitlines() if "critical" in line)
    assert "Login failed" in critical
    messages = [json.loads(line) for line in read.splitlines()]
    records = [message for message in messages if message["type"] == "RECORD"]
    for entity in ENTITIES:
        came = [record["record"] for record in records if record["stream"] == entity.stream]
        assert len(came) == {"CoworkerExtraService": 20}.get(entity.name, 30)
        assert not {name for record in came for name in record} & entity.personal_fields


@pytest.mark.install
def test_meltano_hands_on_the_ids_that_are_configured(checkout: Path) -> None:
    told = yaml.safe_load(block("docs/settings.md", "yaml", "record_ids"))
    path = checkout / "meltano.yml"
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    definition["plugins"]["extractors"][0] |= told
    write_yaml(path, definition)

    run(
        "meltano config print tap-nexudus-usage > config.json",
        checkout,
        f"{BIN}:{os.environ['PATH']}",
    )

    config = json.loads((checkout / "config.json").read_text(encoding="utf-8"))
    assert config["record_ids"] == [87654321, 87654322]
    assert config["on_missing_record"] == "tombstone"


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


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
    (extractor,) = yaml.safe_load(block(README, "yaml", "plugins:"))["plugins"]["extractors"]
    path = checkout / "meltano.yml"
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    of_the_tap = {"name": "tap-nexudus-usage", "select": extractor["select"]}
    definition["environments"][0]["config"] = {"plugins": {"extractors": [of_the_tap]}}
    write_yaml(path, definition)
    for entity in ENTITIES:
        fields = {*entity.schema()["properties"]} - entity.personal_fields
        assert selected_by_meltano(checkout)[entity.stream] == fields


def test_a_second_run_by_hand_emits_nothing_again(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    told = block("docs/reading.md", "sh", "nexudus-sandbox")

    run(told.replace("8765", str(port)) + "\nkill %1\n", checkout, f"{BIN}:{os.environ['PATH']}")

    first, second = (
        [json.loads(line)["type"] for line in (checkout / name).read_text("utf-8").splitlines()]
        for name in ("first.jsonl", "second.jsonl")
    )
    assert first == ["SCHEMA", "RECORD", "RECORD", "STATE"]
    assert second == ["STATE", "SCHEMA", "STATE"]


def test_the_output_of_the_test_is_what_it_says() -> None:
    shown = block(TROUBLESHOOTING, "text", "Login")
    told = section(TROUBLESHOOTING, "Test the connection")
    (command,) = re.findall(r"`(nexudus-sandbox [^`]*)`", told)
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
    assert said == shown, f"Put this into {TROUBLESHOOTING}:\n{said}"
