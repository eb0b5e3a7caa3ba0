"""What all commands have in common: the options before them, and how they fail."""

import sys
from pathlib import Path

import click

from ingest import __version__
from ingest.cli.check import check
from ingest.cli.keys import keys_group
from ingest.cli.migrate import migrate
from ingest.cli.psql import psql
from ingest.cli.rejected import rejected_group
from ingest.cli.serve import serve
from ingest.cli.spool import spool_group
from ingest.errors import StartupError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nonito")
@click.option(
    "--config", "path", type=click.Path(path_type=Path), help="Default: ./config.toml, if any."
)
@click.option("--database-url", help="Postgres to use. Default: database.url, or the embedded one.")
@click.option("--data-dir", help="Where the embedded Postgres lives. Default: database.data_dir.")
@click.pass_context
def command(
    context: click.Context, path: Path | None, database_url: str | None, data_dir: str | None
) -> None:
    """Nonito Events: an event ingestion server whose 2xx means durable, exactly once."""
    context.obj = (path, {"database.url": database_url, "database.data_dir": data_dir})


for _each in (serve, keys_group, spool_group, rejected_group, check, migrate, psql):
    command.add_command(_each)


def main() -> None:
    """Run the command; what can't be done is one line on standard error and exit code 1."""
    try:
        command(prog_name="nonito")
    except StartupError as error:
        click.echo(f"nonito: {' '.join(str(error).splitlines())}", err=True)
        sys.exit(1)
