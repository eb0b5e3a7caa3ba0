"""The server: the addresses, the database, the supervisor, and what it greets with.

Nothing here may import click: this process lives as long as the server.
"""

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from functools import partial

import structlog

from ingest import __version__, config
from ingest.cli.command_line import CommandLine
from ingest.cli.database_url import database
from ingest.config import Config
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.share.segment import Segment
from ingest.supervisor import cores, insights
from ingest.supervisor.order import Ready
from ingest.supervisor.sd_notify import Notifier
from ingest.supervisor.sockets import Sockets, bind, bind_dashboard
from ingest.supervisor.supervisor import Means, Supervisor

log = structlog.get_logger(__name__)

_FILES_SPARE = 128  # what is open besides clients' connections


def run(given: CommandLine) -> None:
    """Serve until SIGTERM or Ctrl-C, which end it at once until then. Raises StartupError."""
    try:
        _serve(partial(config.load, given.path, os.environ, given.flags))
    except BrokenPipeError:  # nobody reads what it says
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _serve(read: Callable[[], Config]) -> None:
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
            may_show_link=sys.stdout.isatty(),
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
    lines = [f"Listening on {each}" for each in (address, *others)]
    if sockets.dashboard_address:
        lines.append(f"Answering questions on {sockets.dashboard_address}")
    print(*lines, ready.greeting, sep="\n", flush=True)  # noqa: T201


def _allow_files(count: int) -> None:
    """Raise the limit of open files as far as it may be, and `count` needs it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < count:
        print(  # noqa: T201
            f"nonito: only {hard} files may be open (ulimit -n), "
            f"limits.connections_max needs {count}",
            file=sys.stderr,
        )
