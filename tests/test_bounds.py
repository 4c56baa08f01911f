"""Nothing waits without a bound: not the tests, and not what is run beside them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
FOLDERS = ("tests", "demo", "bench", "examples", "tools")
FOREVER = {
    "run": 1,
    "call": 1,
    "check_call": 1,
    "check_output": 1,
    "communicate": 0,
    "wait": 0,
    "join": 0,
    "result": 0,
    "urlopen": 1,
    "create_connection": 1,
    "HTTPConnection": 1,
    "HTTPSConnection": 1,
}
"""With no more arguments than these, and none named timeout, such a call may last for ever."""
OF_SUBPROCESS = {"run", "call", "check_call", "check_output"}


def unbounded(tree: ast.AST) -> Iterator[str]:
    """The calls that may last for ever."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        arguments = node.args
        if function == "partial":
            function, arguments = ast.unparse(node.args[0]), node.args[1:]
        name = function.rpartition(".")[2]
        if name in OF_SUBPROCESS and function != f"subprocess.{name}":
            continue
        named = {keyword.arg for keyword in node.keywords}
        if len(arguments) <= FOREVER.get(name, -1) and "timeout" not in named:
            yield f"{function}, line {node.lineno}"


def test_no_call_waits_without_a_bound() -> None:
    files = [path for folder in FOLDERS for path in PROJECT.glob(f"{folder}/**/*.py")]
    found = [
        f"{path.relative_to(PROJECT)}: {call}"
        for path in files
        for call in unbounded(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert len(files) > 50
    assert not found


@pytest.mark.parametrize(
    ("code", "is_bounded"),
    [
        ("subprocess.run(['true'])", False),
        ("subprocess.run(['true'], timeout=5)", True),
        ("partial(subprocess.run, check=True)", False),
        ("partial(subprocess.run, timeout=5)", True),
        ("asyncio.run(main())", True),
        ("process.wait()", False),
        ("process.wait(5)", True),
        ("thread.join()", False),
        ("', '.join(names)", True),
        ("urlopen(request, timeout=5)", True),
        ("socket.create_connection(address)", False),
    ],
)
def test_calls_without_a_bound_are_found(code: str, *, is_bounded: bool) -> None:
    assert (not list(unbounded(ast.parse(code)))) == is_bounded


HANGING = """
import threading

def wait_for_nobody():
    threading.Event().wait(100)

def test_that_hangs():
    wait_for_nobody()
"""


@pytest.mark.wide
def test_a_test_that_hangs_is_ended_and_shows_where(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING, encoding="utf-8")
    options = ["-c", PROJECT / "pyproject.toml", "--rootdir", tmp_path, "-p", "no:cacheprovider"]

    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--timeout=1", "--numprocesses=1", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert finished.returncode == 1, finished.stdout
    assert "Timeout (>1.0s) from pytest-timeout" in finished.stdout
    assert "threading.Event().wait(100)" in finished.stdout
