"""What all commands have in common: where each of them lies."""

from importlib import import_module
from typing import Final, NamedTuple

import click

from ingest import __version__
from ingest.cli import options


class _Command(NamedTuple):
    """What a module of a command's name calls it, and the first line of its help."""

    attribute: str
    summary: str
    has_settings: bool = True
    """Whether it goes by the configuration, and has the options that name one."""


COMMANDS: Final = {
    "archive": _Command(
        "archive_group",
        "Look at the columnar copy of the events, prove it equal to Postgres, or make it anew.",
    ),
    "apps": _Command(
        "apps_group",
        "List apps, and set what questions about their events go by, and how long these are kept.",
    ),
    "check": _Command("check", "Say whether the configuration and the database are fit to serve."),
    "demo": _Command(
        "demo",
        "Run a server with two weeks of a made-up shop's events, to look around in.",
        has_settings=False,
    ),
    "health": _Command(
        "health", "Exit with 0 if the server of this configuration answers /healthz, else with 1."
    ),
    "keys": _Command(
        "keys_group",
        "Make, limit, list and revoke API keys; running servers follow within a second.",
    ),
    "login": _Command(
        "login",
        "Print a link that signs in once: a new administrator, or who forgot a password.",
    ),
    "migrate": _Command(
        "migrate", "Make tables and partitions, for servers whose own role may not."
    ),
    "people": _Command(
        "people_group", "Search for what is stored of one person, export it, or erase it."
    ),
    "psql": _Command("psql", "Run psql on the database."),
    "query": _Command(
        "query_group", "Ask questions about an app's events: trends, funnels, retention, lists."
    ),
    "rejected": _Command(
        "rejected_group",
        "List, retry or drop events that Postgres refused after they had been acknowledged.",
    ),
    "retention": _Command(
        "retention_group", "Say which events go when, or have go at once what is due."
    ),
    "serve": _Command("serve", "Take events at POST /event until SIGTERM or Ctrl-C."),
    "spool": _Command("spool_group", "Look at the events that wait on disk for Postgres."),
}


class _Commands(click.Group):
    """Imports a command when it is asked for: `nonito --version` needs no server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name; None for an unknown one."""
        del ctx
        if (known := COMMANDS.get(cmd_name)) and cmd_name not in self.commands:
            module = import_module(f"ingest.cli.{cmd_name}")
            found = getattr(module, known.attribute)
            if known.has_settings:
                options.add_to(found)
            self.add_command(found, cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries: for click's own help every command would be imported."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.summary) for name, each in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nonito")
def command() -> None:
    """Nonito Events: an event ingestion server whose 2xx means durable, exactly once."""


options.add_to(command)


def run() -> None:
    """Run the command. Raises StartupError."""
    command(prog_name="nonito")
