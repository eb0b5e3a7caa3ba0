"""`nonito check`: says in words whether everything is fit to serve."""

import sys
import time
from functools import partial
from pathlib import Path

import click

from ingest.app.database import connections_needed
from ingest.cli.database import in_session
from ingest.cli.settings import load_quietly
from ingest.config import Config
from ingest.delivery.events_table import EVENTS
from ingest.spool import report as spool_report
from ingest.store import checks
from ingest.store.database_url import DatabaseUrl
from ingest.store.finding import Finding
from ingest.store.postgres import Connection
from ingest.supervisor import cores

_WAITING_S_MAX = 60


@click.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Say whether the configuration and the database are fit to serve."""
    settings = load_quietly(context)
    click.echo("ok    configuration")
    findings = _unused(settings.database.url)
    findings += in_session(settings, partial(_examine, settings), migrate=False)
    findings += _waiting(Path(settings.spool.path))
    for finding in findings:
        click.echo(f"{'ok   ' if finding.is_good else 'WRONG'} {finding.text}")
    if not all(finding.is_good for finding in findings):
        sys.exit(1)


def _unused(url: str) -> list[Finding]:
    unused = DatabaseUrl(url).without_effect if url else []
    return [Finding(True, f"database.url: {each} has no effect here") for each in unused]


async def _examine(settings: Config, connection: Connection) -> list[Finding]:
    return await checks.examine(
        connection, EVENTS, connections_needed(settings, cores.workers(settings))
    )


def _waiting(directory: Path) -> list[Finding]:
    """Say what waits in the spool for longer than it should, if Postgres can be asked."""
    if not directory.exists():
        return []
    files = [file for file in spool_report.status(directory) if file.oldest_ms is not None]
    events = sum(file.events for file in files)
    if not events:
        return [Finding(True, f"nothing waits in {directory}")]
    waiting_s = time.time() - min(file.oldest_ms or 0 for file in files) / 1000
    text = f"{events} events wait in {directory}, the oldest for {waiting_s:.0f} s"
    if waiting_s < _WAITING_S_MAX:
        return [Finding(True, text)]
    return [Finding(False, f"{text}: start a server, or see in its log what Postgres refuses")]
