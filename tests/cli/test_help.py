"""The `nonito` command itself: its help, and options before a command or behind it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ingest import __version__
from ingest.cli.root import COMMANDS as ROOT_COMMANDS
from ingest.cli.root import command
from tests.support.command import Nonito, complaint, run, succeed


def commands(group: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """Return the path of every command below a group, its own too."""
    yield path
    if isinstance(group, click.Group):
        for name in group.list_commands(CONTEXT):
            yield from commands(below(group, name), *path, name)


def below(group: click.Command, *path: str) -> click.Command:
    """Return the command that lies below a group."""
    for name in path:
        assert isinstance(group, click.Group)
        found = group.get_command(CONTEXT, name)
        assert found
        group = found
    return group


CONTEXT = click.Context(command)
COMMANDS = list(commands(command))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    """--help says what it does and what each option is for."""
    shown = CliRunner().invoke(command, [*path, "--help"], prog_name="nonito")
    assert shown.exit_code == 0
    assert f"Usage: {' '.join(('nonito', *path))}" in shown.output
    assert len(shown.output.splitlines()) > 4
    found = below(command, *path)
    assert found.help
    options = [param for param in found.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help and option.name != "app"] == []


def test_commands_are_the_documented_ones() -> None:
    """None is left out of the tests by being nested or renamed."""
    documented = {"serve", "keys", "keys create", "keys list", "keys revoke", "check", "psql"}
    documented |= {"migrate", "apps", "apps list", "apps set", "retention", "retention run"}
    documented |= {"spool", "spool status", "spool export"}
    documented |= {"rejected", "rejected list", "rejected retry", "rejected drop"}
    documented |= {"query", "query trends", "query funnel", "query retention"}
    documented |= {"query names", "query events", "query person"}
    assert documented <= {" ".join(path) for path in COMMANDS}


@pytest.mark.parametrize("name", ROOT_COMMANDS)
def test_summary_in_the_help_is_the_command_s_own(name: str) -> None:
    """`nonito --help` shows it without having imported the command."""
    (first, *_) = (below(command, name).help or "").partition("\n\n")
    assert " ".join(first.split()).startswith(ROOT_COMMANDS[name].summary.removesuffix("."))
    assert f"\n  {name} " in CliRunner().invoke(command, ["--help"]).output


def test_version_is_printed() -> None:
    """As the package has it."""
    assert succeed(run("--version")).strip() == f"nonito, version {__version__}"


IMPORTED = """
import atexit, sys
atexit.register(lambda: print("imported:", *sys.modules))
from ingest.cli import main
main()
"""


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("nothing",)])
def test_command_that_does_little_imports_little(arguments: tuple[str, ...]) -> None:
    """The server's parts take half a second of processor time, ten times the rest."""
    shown = run(*arguments, command=(sys.executable, "-c", IMPORTED)).stdout
    modules = set(shown.rpartition("imported:")[2].split())
    heavy = {"aiohttp", "asyncpg", "msgspec", "prometheus_client", "sqlite3", "structlog", "uvloop"}
    assert "click" in modules
    assert modules & heavy == set()


CONFIGURED = [
    ("--config", "{}", "check"),
    ("check", "--config", "{}"),
    ("--config", "{}", "keys", "list"),
    ("keys", "--config", "{}", "list"),
    ("keys", "list", "--config", "{}"),
    ("psql", "-c", "SELECT 1", "--config", "{}"),
    ("--config", "other.toml", "serve", "--config", "{}"),
]


@pytest.mark.parametrize("arguments", CONFIGURED, ids=" ".join)
def test_option_that_every_command_has_may_stand_before_it_or_behind(
    nonito: Nonito, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Of two the nearer to the command's end counts."""
    path = tmp_path / "config.toml"
    path.write_text("[server\n")
    assert str(path) in complaint(nonito(*(each.format(path) for each in arguments)))


@pytest.mark.parametrize(
    ("option", "told"),
    [("--database-url=nonsense", "database.url"), ("--data-dir=/dev/null", "/dev/null")],
)
def test_database_may_be_named_before_a_command_or_behind_it(
    nonito: Nonito, option: str, told: str
) -> None:
    """As the configuration file may."""
    for arguments in ((option, "keys", "list"), ("keys", "list", option)):
        assert told in complaint(nonito(*arguments))
