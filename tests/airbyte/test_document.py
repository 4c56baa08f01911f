"""What `docs/airbyte.md` and the README say of Airbyte agrees with what the source does."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import documents
import pytest
from jsonschema import Draft7Validator

from airbyte.conversation import CURSOR, DELETED, parsed
from tap_nexudus_usage.airbyte import reading, spec, states, streams
from tap_nexudus_usage.nexudus.entities import ENTITIES
from tap_nexudus_usage.settings.loading import load

PROJECT = Path(__file__).parents[2]
DOCUMENT = "docs/airbyte.md"
EXAMPLES = [json.loads(shown.text) for shown in documents.blocks(DOCUMENT, "json")]
CONFIGS = [example for example in EXAMPLES if "credentials" in example]


def section(title: str) -> str:
    return documents.section(DOCUMENT, title)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["credentials"]["auth_type"])
def test_the_configurations_fit_the_form_and_are_understood(config: dict[str, Any]) -> None:
    Draft7Validator(spec.spec()["connectionSpecification"]).validate(config)

    # A seed has to be one.
    flat = spec.flattened(config)
    flat.pop("totp_secret", None)
    load(flat, default_user_agent="agent")


def test_each_kind_of_example_is_there() -> None:
    assert len(CONFIGS) == 2
    assert len(EXAMPLES) == 3


def test_the_state_shown_is_understood() -> None:
    (shown,) = (example for example in EXAMPLES if example not in CONFIGS)

    understood = states.understood(shown)
    assert understood.keys() <= {entity.stream for entity in ENTITIES}
    (stream,) = understood.values()
    assert stream == shown[0]["stream"]["stream_state"]


def test_columns_ways_to_log_in_and_sync_modes_are_told_of() -> None:
    for name in (CURSOR, DELETED):
        assert f"| `{name}` |" in section("Streams")
    for way in spec.WAYS:
        assert f"`{way}`" in section("Configuration")
    for mode in streams.discovered()[0]["supported_sync_modes"]:
        assert mode.replace("_", " ") in section("Streams").casefold()
    assert reading.STATE_SECONDS == 600
    assert "every ten minutes" in " ".join(section("State").split())


def test_the_messages_explained_are_the_sources() -> None:
    table = section("Troubleshooting").partition("And of PyAirbyte")[0]
    explained = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    code = "".join(
        path.read_text(encoding="utf-8") for path in (PROJECT / "tap_nexudus_usage").rglob("*.py")
    )
    code = re.sub(r'"\s*\n\s*f?"', "", code)

    assert len(explained) >= 5
    for message in explained:
        for part in message.split("…"):
            assert part.strip() in code, f"No message says: {part}"


def test_the_commands_bring_everything_and_then_nothing(tmp_path: Path) -> None:
    block = documents.block(DOCUMENT, "sh", "nexudus-sandbox")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    block = block.replace("8765", str(port)) + "\nkill %1\n"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],  # noqa: S607
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr

    said = {file.stem: parsed(file.read_text("utf-8")) for file in tmp_path.glob("*.jsonl")}
    assert [message["type"] for message in said["spec"]] == ["SPEC"]
    assert said["check"][-1]["connectionStatus"]["status"] == "SUCCEEDED"
    assert len(said["discovered"][-1]["catalog"]["streams"]) == len(ENTITIES)
    records = {name: sum(m["type"] == "RECORD" for m in said[name]) for name in ("first", "second")}
    assert records == {"first": 50, "second": 0}


def test_the_script_for_pyairbyte_configures_what_the_form_asks_for() -> None:
    """It is run with PyAirbyte by `make test-airbyte`."""
    script = documents.block("README.md", "python")
    names = {node.value for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Constant)}

    needed = {"credentials", "auth_type", "password", "username", "api_url"}
    assert needed <= names
    assert len([line for line in script.splitlines() if line]) == 10


def test_what_is_told_to_install_is_what_is_tested() -> None:
    pins = (PROJECT / "tests/airbyte/clients/environments/pyairbyte.in").read_text("utf-8")
    commands = documents.block(DOCUMENT, "sh", "pip install airbyte").splitlines()
    (command,) = (command for command in commands if "/pip install airbyte" in command)

    assert command.split()[-1] in re.findall(r"^[\w-]+", pins, re.MULTILINE)
