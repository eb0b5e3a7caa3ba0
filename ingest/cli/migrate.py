"""`nonito migrate`: makes what a server needs in the database, and ends."""

import asyncio
import sys

import click

from ingest.app.database import make_postgres, prepare
from ingest.cli.database_url import database
from ingest.cli.settings import load
from ingest.config import Config
from ingest.observe import logs
from ingest.store import checks
from ingest.store.finding import Finding


@click.command()
@click.pass_context
def migrate(context: click.Context) -> None:
    """Make tables and partitions, for servers whose own role may not."""
    settings = load(context)
    logs.configure(settings.log.level, settings.log.format)
    with database(settings) as (url, _):
        found = asyncio.run(_migrate(settings, url))
    click.echo(found.text)
    if not found.is_good:
        sys.exit(1)


async def _migrate(settings: Config, url: str) -> Finding:
    postgres = make_postgres(settings, url)
    await prepare(postgres, settings)
    async with postgres.session() as connection:
        return await checks.partitions(connection)
