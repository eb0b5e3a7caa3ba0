"""The root of the commands: each is where its name says, and can be asked for help."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import COMMANDS, command
from tests.support.server import ROOT


@pytest.mark.parametrize(("name", "module"), COMMANDS.items())
def test_command_is_found_by_its_name(name: str, module: str) -> None:
    """In a file of its name, or as the command of a folder of its name; and its help is its own."""
    path = Path(*module.split("."))
    assert name == (path.parent.name if path.name == "command" else path.name)
    ran = CliRunner().invoke(command, [name, "--help"])
    assert ran.exit_code == 0, ran.output
    assert f"{name} [OPTIONS]" in ran.output


def test_help_names_every_command() -> None:
    """With a line for each, and so does the harness's README."""
    ran = CliRunner().invoke(command, ["--help"])
    text = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"\n  {name} " in ran.output
        assert f"python -m bench {name} " in text


def test_unknown_command_is_a_usage_error() -> None:
    """Rather than a stack trace."""
    ran = CliRunner().invoke(command, ["lode"])
    assert ran.exit_code == 2
    assert "No such command" in ran.output
