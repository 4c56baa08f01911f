"""What looks after the project: the tests on every Python, and the look for wheels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import pythons
from tools.pythons import Row
from tools.wheels import why_not

NONE = Row("3.10", passed=None, outcome="not found")
GREEN = Row("3.11", passed=True, outcome="7 passed, 0 failed, 0 skipped", seconds=12)
RED = Row("3.12", passed=False, outcome="not installed; no wheel: stone==1.0")


@pytest.mark.parametrize(
    ("rows", "at_least", "code"),
    [
        ([GREEN, GREEN, NONE], 2, 0),
        ([GREEN, NONE, NONE], 2, 1),
        ([GREEN, RED, NONE], 1, 1),
        ([NONE, NONE, NONE], 1, 1),
    ],
)
def test_the_table_has_every_python_and_the_exit_code_fits(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rows: list[Row],
    at_least: int,
    code: int,
) -> None:
    coming = dict(zip(("3.10", "3.11", "3.12"), rows, strict=True))
    monkeypatch.setattr(pythons, "supported_pythons", lambda: list(coming))
    monkeypatch.setattr(pythons, "test_on", coming.__getitem__)
    monkeypatch.setattr(sys, "argv", ["pythons", f"--at-least={at_least}"])

    assert pythons.main() == code
    shown = capsys.readouterr().out
    for row in rows:
        assert str(row) in shown
        assert row.outcome in str(row)


def test_pythons_are_found_where_pyenv_keeps_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "pyenv/versions/3.99.1/bin/python3.99"
    python.parent.mkdir(parents=True)
    python.touch()

    monkeypatch.setenv("PATH", str(tmp_path / "pyenv/shims"))
    assert pythons.find(["3.98", "3.99"]) == python

    monkeypatch.setenv("PATH", "/bin")
    assert pythons.find(["3.99"]) is None
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert pythons.find(["3.99"]) == python


def test_what_has_no_wheel_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # An index that has nothing.
    monkeypatch.setenv("UV_DEFAULT_INDEX", tmp_path.as_uri())
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    constraints = tmp_path / "constraints.txt"
    pin = f"stone==1.0 \\\n    --hash=sha256:{'0' * 64}\n    # via nobody\n"
    constraints.write_text(f"{pin}never==1.0 ; python_version < '3'\n", encoding="utf-8")

    assert why_not("3.14", constraints) == "no wheel: stone==1.0"
