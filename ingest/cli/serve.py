"""`nonito serve`: the addresses, the database, the supervisor, and what it greets with."""

import asyncio
import resource
import signal
import sys
from functools import partial

import click
import structlog

from ingest import __version__
from ingest.cli.database_url import database
from ingest.cli.settings import load
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.share.segment import Segment
from ingest.supervisor import cores, insights
from ingest.supervisor.order import Ready
from ingest.supervisor.sd_notify import Notifier
from ingest.supervisor.sockets import Sockets, bind, bind_dashboard
from ingest.supervisor.supervisor import Means, Supervisor

log = structlog.get_logger(__name__)

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_FILES_SPARE = 128  # what is open besides clients' connections


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.")
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="HOST:PORT or unix:/PATH, instead of --host and --port; may be given several times.",
)
@click.option("--workers", type=int, help="Processes that serve; 0 starts one a core.")
@click.pass_context
def serve(
    context: click.Context,
    host: str | None,
    port: int | None,
    listen: tuple[str, ...],
    workers: int | None,
) -> None:
    """Take events at POST /event until SIGTERM or Ctrl-C."""
    for number in _STOPPING:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    flags: dict[str, object] = {
        "server.host": host,
        "server.port": port,
        "server.listen": list(listen) or None,
        "server.workers": workers,
    }
    read = partial(load, context, flags)
    settings = read()
    _allow_files(settings.limits.connections_max + _FILES_SPARE)
    logs.configure(settings.log.level, settings.log.format)
    count, notifier = cores.workers(settings), Notifier()  # first: no child may speak for us
    made, has_insights = database(settings, may_be_new=True), insights.is_wanted(settings)
    with bind(settings, count) as sockets, made as (url, embedded):
        if has_insights and settings.dashboard.enabled:
            sockets.add_dashboard(bind_dashboard(settings.dashboard))
        means = Means(
            sockets=sockets,
            notifier=notifier,
            segment=Segment.create(count),
            database_url=url,
            reread=None if sys.stdin.isatty() else read,
            revive=embedded.revive if embedded else None,
            inherited=embedded.held if embedded else (),
            # Nobody asked for an app in a database of their own, and a log is no place for a key.
            may_show_key=embedded is not None and sys.stdout.isatty(),
            has_insights=has_insights,
        )
        supervisor = Supervisor(settings, count, means)
        greet = partial(_greet, sockets, count, embedded.address if embedded else "")
        is_good = asyncio.run(supervisor.run(greet))
    if supervisor.stopped_early_by:
        sys.exit(128 + supervisor.stopped_early_by)
    if not is_good:
        raise StartupError("a part of the server failed; the log says which")


def _greet(sockets: Sockets, workers: int, embedded: str, ready: Ready) -> None:
    place = embedded or ready.database
    address, *others = sockets.addresses
    log.info(
        "serving",
        address=address,
        database=place,
        workers=workers,
        questions=sockets.dashboard_address or "not answered",
        postgres_connections=ready.connections or "unknown",
        version=__version__,
    )
    if ready.lacks_connections:
        log.warning("Postgres may refuse connections", reason=ready.connections)
    click.echo("\n".join(f"Listening on {each}" for each in (address, *others)))
    if sockets.dashboard_address:
        click.echo(f"Answering questions on {sockets.dashboard_address}")
    click.echo(ready.greeting)


def _allow_files(count: int) -> None:
    """Raise the limit of open files as far as it may be, and `count` needs it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < count:
        click.echo(
            f"nonito: only {hard} files may be open (ulimit -n), "
            f"limits.connections_max needs {count}",
            err=True,
        )
