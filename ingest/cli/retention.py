"""`nonito retention`: which events go when, by this configuration; and to have them go at once."""

import asyncio
from collections.abc import Iterator
from typing import Final

import click

from ingest.app.database import kept_of, make_postgres, make_retention
from ingest.cli.database import with_database
from ingest.cli.database_url import database
from ingest.cli.settings import load, load_quietly
from ingest.cli.table import day, echo_table
from ingest.config import Config
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.store import horizons, migrations, retention_report
from ingest.store.failures import Unavailable
from ingest.store.horizons import Horizon
from ingest.store.postgres import Connection
from ingest.store.retention import Figures
from ingest.store.retention_report import Going, RetentionReport

_APPS: Final = ("APP", "POSTGRES", "ARCHIVE", "GOES BEFORE", "NOT ASKED BEFORE")
_PARTITIONS: Final = ("PARTITION", "EVENTS", "BYTES", "GOES")
_PARTITIONS_MAX: Final = 2_000


@click.group("retention", invoke_without_command=True)
@click.pass_context
def retention_group(context: click.Context) -> None:
    """Say which events go when, or have go at once what is due.

    By itself it says what comes of this configuration, and what waits, and changes nothing. Events
    go by the time in their ids, at midnight UTC: whole partitions, whose numbers here are
    Postgres's estimates, and the rest row by row. A server does it, ten minutes after it was told
    to keep less than before.
    """
    if context.invoked_subcommand is None:
        _show(context)


def _show(context: click.Context) -> None:
    kept = kept_of(load_quietly(context))

    async def work(connection: Connection) -> RetentionReport:
        found = await horizons.planned(connection, kept)
        return await retention_report.make(connection, found, _PARTITIONS_MAX)

    found = with_database(context, work)
    others = [found.others] if found.others else []
    echo_table([_APPS, *(_as_row(each) for each in (*others, *found.apps))])
    if found.partitions:
        click.echo()
        echo_table([_PARTITIONS, *map(_as_partition, found.partitions)])
    for line in _told(found):
        click.echo(line, err=True)


def _as_row(each: Horizon) -> tuple[str, ...]:
    return (
        each.app or "all others",
        _days(each.days),
        _days(each.archive_days),
        day(each.events_before),
        day(each.archive_before),
    )


def _as_partition(going: Going) -> tuple[str, ...]:
    partition = going.partition
    never = f"never: {going.kept_for} keeps all" if going.kept_for else "never: all others keep all"
    return (
        partition.name,
        str(partition.rows),
        str(partition.bytes),
        never if going.at is None else day(going.at),
    )


def _days(days: int) -> str:
    return f"{days} days" if days else "all"


def _told(found: RetentionReport) -> Iterator[str]:
    if found.more_apps:
        yield f"{found.more_apps} more apps have days of their own."
    if found.begins_at:
        yield f"Less is to be kept than before: that begins at {found.begins_at:%H:%M} UTC."
    for trouble in found.troubles:
        yield f"Something waits: {trouble}"


@retention_group.command("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def run_retention(context: click.Context, yes: bool) -> None:  # noqa: FBT001 - a flag
    """Have go now what is due, as a server does; asks first.

    For the role that owns the tables, where the servers' own may not delete. It ends when nothing
    more can go. What was told to be kept for less long within the last ten minutes stays.
    """
    if not yes:
        _show(context)
        click.confirm("Delete what is older?", abort=True, err=True)
    settings = load(context)
    logs.configure(settings.log.level, settings.log.format)
    with database(settings) as (url, _):
        try:
            done = asyncio.run(_run(settings, url))
        except Unavailable as failure:
            raise StartupError(f"the database failed: {failure}") from failure
    click.echo(f"{done.partitions} partitions and about {done.events} events have gone.", err=True)
    if done.is_waiting:
        raise StartupError("something waits that is to go: nonito retention")


async def _run(settings: Config, url: str) -> Figures:
    postgres = make_postgres(settings, url)
    await migrations.migrate(postgres)
    return await make_retention(settings, postgres).finish()
