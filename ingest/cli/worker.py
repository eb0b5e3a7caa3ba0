"""`nonito worker`: one of the processes that serve, started by `nonito serve` and told by it."""

import socket
import sys
from contextlib import suppress
from functools import partial

import uvloop

from ingest.app.database import budget_of, make_postgres
from ingest.app.server import App
from ingest.cli import first_key, first_link
from ingest.cli.channel import Heeding, attend, receive
from ingest.cli.process import return_large_blocks
from ingest.observe import logs
from ingest.share.member import Member
from ingest.share.segment import Segment
from ingest.store.failures import Unavailable
from ingest.store.postgres import Postgres
from ingest.supervisor.order import Ready, WorkerOrder


def run() -> None:
    """Serve events as one worker of `nonito serve`, which starts it. Raises StartupError.

    Its number on the command line is for those who look at the list of processes.
    """
    channel, order = receive(WorkerOrder)
    return_large_blocks()
    log = order.config.log
    logs.configure(log.level, log.format, worker=order.worker if order.workers > 1 else None)
    sys.exit(0 if uvloop.run(attend(channel, partial(_run, order=order))) else 1)


async def _run(heeding: Heeding, order: WorkerOrder) -> bool:
    postgres = make_postgres(order.config, order.database_url, order.segment)
    member = Member(Segment.attach(order.segment), order.slot)
    server = App(order.config, postgres, member, are_sockets_lent=order.are_lent)

    def stop_at_once() -> None:
        server.stop()
        server.stop()  # without the drain

    async def greet() -> None:
        heeding.begin(await _ready(server, postgres, order))

    with heeding.doing({"stop": server.stop, "retire": server.retire}, stop_at_once):
        await server.open()
        return await server.run(*_sockets(order), greet)


def _sockets(order: WorkerOrder) -> tuple[list[socket.socket], socket.socket | None]:
    monitor = None if order.monitor is None else socket.socket(fileno=order.monitor)
    return [socket.socket(fileno=each) for each in order.listeners], monitor


async def _ready(server: App, postgres: Postgres, order: WorkerOrder) -> Ready:
    """Make the first key where that is wanted; return what is told of it."""
    file, secret = order.config.keys.first_key_file, None
    if not server.keys and order.makes_first_key:
        secret = await first_key.make(postgres, file)
        with suppress(Unavailable):  # it will follow the database in any case
            await server.read_keys()
    told = [first_key.tell(secret, file, order.address) if server.keys else first_key.NONE]
    if order.dashboard and server.is_postgres_up:
        may_show = order.shows_first_link
        told.append(await first_link.tell(postgres, order.dashboard, may_show=may_show))
    config, workers = order.config, order.workers
    budget = await budget_of(postgres, config, workers) if server.is_postgres_up else None
    return Ready(
        greeting="\n".join(filter(None, told)),
        database=postgres.address,
        connections=str(budget or ""),
        lacks_connections=budget is not None and not budget.is_enough,
    )
