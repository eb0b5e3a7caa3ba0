"""The `nonito` command as people run it: its output, and how it says what can't be done."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Protocol

import pytest

from ingest.cli import main
from ingest.observe import logs
from tests.support.server import COMMAND, ROOT, environment

TIMEOUT_S = 60.0
Ended = subprocess.CompletedProcess[str]


def run(
    *arguments: str,
    settings: Mapping[str, object] | None = None,
    variables: Mapping[str, str] | None = None,
    command: tuple[str, ...] = COMMAND,
) -> Ended:
    """Run `nonito ARGUMENTS` where no config.toml lies, with settings by their dotted key."""
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT / "tests",
        env=environment(settings) | {"PYTHONPATH": str(ROOT)} | dict(variables or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


class Nonito(Protocol):
    """Runs the command in this process, which takes a tenth of the time."""

    def __call__(
        self,
        *arguments: str,
        settings: Mapping[str, object] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run `nonito ARGUMENTS` as `run` does, but for its logs."""


def run_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """Return the command for tests that start nothing."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(os, "execv", lambda *_: main())  # what begins anew stays here as well
    monkeypatch.chdir(ROOT / "tests")

    def call(
        *arguments: str,
        settings: Mapping[str, object] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Ended:
        wanted = environment(settings) | dict(variables or {})
        for name in os.environ.keys() - wanted.keys():
            monkeypatch.delenv(name)
        for name, value in wanted.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["nonito", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(arguments, int(ended.value.code or 0), *capfd.readouterr())

    return call


def succeed(ended: Ended) -> str:
    """Assert exit code 0 and return what stands on standard output."""
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def complaint(ended: Ended, exit_code: int = 1) -> str:
    """Assert the exit code and exactly one line on standard error, and return it."""
    assert ended.returncode == exit_code, ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("nonito: ")
    return lines[0]
