"""`nonito psql`: PostgreSQL's own terminal on the configured database."""

import sys

import click

from ingest.cli.database import database
from ingest.cli.settings import load_quietly
from ingest.errors import StartupError


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def psql(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run psql on the database, for example: nonito psql -c 'SELECT * FROM events'."""
    settings = load_quietly(context)
    import subprocess  # noqa: PLC0415 - for this command only

    with database(settings) as (url, embedded):
        program = embedded.psql if embedded is not None else "psql"
        try:
            ended = subprocess.run([program, url, *arguments], check=False)  # noqa: S603
        except FileNotFoundError:
            raise StartupError("psql is not installed (Debian: postgresql-client)") from None
    sys.exit(ended.returncode)
