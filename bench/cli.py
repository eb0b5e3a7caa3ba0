"""The root of `python -m bench`: which command lies in which module, and how errors end."""

import sys
from importlib import import_module
from typing import Final

import click

from bench.errors import BenchError
from ingest.observe import logs

COMMANDS: Final = {
    "load": "bench.load.command",
    "compare": "bench.compare.command",
    "scale": "bench.scale.command",
    "alloc": "bench.costs.alloc",
    "idle": "bench.costs.idle",
    "tail": "bench.costs.tail",
    "hostile": "bench.hostile.command",
    "batch": "bench.costs.batch",
    "protocols": "bench.costs.protocols",
    "limits": "bench.costs.limits",
    "stages": "bench.costs.stages",
    "fuzz": "bench.agreement.fuzz",
    "documents": "bench.agreement.documents",
    "outage": "bench.outage.command",
    "audit": "bench.audit.command",
    "simulate": "bench.simulate.command",
    "citus": "bench.costs.citus",
    "insights": "bench.insights.command",
    "retention": "bench.retention.command",
    "erase": "bench.insights.erase",
}
"""The module of each command, which has it under its own name."""


class _Commands(click.Group):
    """Loads a command when it is called: what measures in this process runs with few neighbours."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted for the help."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name; None for an unknown one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(found, click.Command)  # noqa: S101 - for the type checker
        return found


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
def command() -> None:
    """Measure the event server on your own machine.

    Each command works without arguments: it starts a temporary Postgres with durable default
    settings, and the server on a core of its own. bench/README.md says how to read the figures.
    """


def main() -> None:
    """Run the command; what a user can mend is one line on standard error and exit code 1."""
    logs.configure("error", "text")  # what goes without saying here, such as migrations
    try:
        command(prog_name="python -m bench")
    except BenchError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(1)
