"""`nonito psql`: PostgreSQL's own terminal on the configured database.

Everybody on a machine sees the command lines of all processes, so a password goes there by the
environment, which only the same user can read.
"""

import os
import sys

import click

from ingest.cli.database_url import database
from ingest.cli.settings import load_quietly
from ingest.errors import StartupError
from ingest.store.database_url import DatabaseUrl


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def psql(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run psql on the database, for example: nonito psql -c 'SELECT * FROM events'."""
    settings = load_quietly(context)
    import subprocess  # noqa: PLC0415 - for this command only

    with database(settings) as (url, embedded):
        program = embedded.psql if embedded is not None else "psql"
        shown, variables = DatabaseUrl(url).for_psql()
        try:
            command = [program, shown, *arguments]
            ended = subprocess.run(command, check=False, env=os.environ | variables)  # noqa: S603 - psql
        except FileNotFoundError:
            raise StartupError("psql is not installed (Debian: postgresql-client)") from None
    sys.exit(ended.returncode)
