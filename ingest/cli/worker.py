"""`nonito worker`: one of the processes that serve, started by `nonito serve` and told by it."""

import asyncio
import faulthandler
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

import click
import msgspec
import uvloop

from ingest.app.database import budget_of, make_postgres
from ingest.app.server import App
from ingest.cli import first_key
from ingest.cli.process import return_large_blocks
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.share.member import Member
from ingest.share.segment import Segment
from ingest.store.failures import Unavailable
from ingest.store.postgres import Postgres
from ingest.supervisor.order import Failed, Order, Ready, encode

_ORDER_BYTES_MAX: Final = 1 << 20
_STDIN: Final = 0


@click.command(hidden=True)
@click.argument("number", type=int)
def worker(number: int) -> None:
    """Serve events as one worker of `nonito serve`, which starts it."""
    del number  # for those who look at the list of processes; the order has it too
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # that one is for the supervisor
    faulthandler.enable()  # SIGABRT prints where all threads are
    channel, order = _receive()
    return_large_blocks()
    log = order.config.log
    logs.configure(log.level, log.format, worker=order.worker if order.workers > 1 else None)
    sys.exit(0 if uvloop.run(_serve(channel, order)) else 1)


def _receive() -> tuple[socket.socket, Order]:
    """Return the channel to the supervisor, and what it says first."""
    try:
        channel, line = socket.socket(fileno=_STDIN), b""
    except OSError:
        raise StartupError("workers are started by nonito serve") from None
    while not line.endswith(b"\n"):
        part = channel.recv(65_536)
        if not part or len(line) > _ORDER_BYTES_MAX:
            raise StartupError("the supervisor ended")
        line += part
    return channel, msgspec.json.decode(line, type=Order)


async def _serve(channel: socket.socket, order: Order) -> bool:
    """Serve until told to stop; tell the supervisor why if that can't even begin."""
    reader, writer = await asyncio.open_connection(sock=channel)
    try:
        return await _run(reader, writer, order)
    except (StartupError, Unavailable) as error:
        failed = isinstance(error, Unavailable)
        writer.write(encode(Failed(f"the database failed: {error}" if failed else str(error))))
        return False
    finally:
        writer.close()


async def _run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: Order) -> bool:
    postgres = make_postgres(order.config, order.database_url, order.segment)
    member = Member(Segment.attach(order.segment), order.slot)
    server = App(order.config, postgres, member, are_sockets_lent=order.are_lent)
    is_ready = asyncio.Event()
    heeding = asyncio.create_task(_heed(reader, server, is_ready), name="supervisor")
    for number in (signal.SIGTERM, signal.SIGINT):  # from somebody who means this worker alone
        asyncio.get_running_loop().add_signal_handler(number, server.retire)

    async def greet() -> None:
        writer.write(encode(await _ready(server, postgres, order)))
        is_ready.set()

    try:
        await server.open()
        return await server.run(*_sockets(order), greet)
    finally:
        heeding.cancel()


async def _heed(reader: asyncio.StreamReader, server: App, is_ready: asyncio.Event) -> None:
    """Do as the supervisor says. When it is gone nobody is to serve on."""
    commands = {b'"stop"': server.stop, b'"retire"': server.retire}
    while line := await _line(reader):
        commands[line]()
    if not is_ready.is_set():  # it may wait for Postgres yet, and would keep the address all along
        os._exit(1)
    server.stop()
    server.stop()  # without the drain


async def _line(reader: asyncio.StreamReader) -> bytes:
    with suppress(OSError):
        return (await reader.readline()).rstrip()
    return b""


def _sockets(order: Order) -> tuple[list[socket.socket], socket.socket | None]:
    monitor = None if order.monitor is None else socket.socket(fileno=order.monitor)
    return [socket.socket(fileno=each) for each in order.listeners], monitor


async def _ready(server: App, postgres: Postgres, order: Order) -> Ready:
    """Make the first key where that is wanted; return what is told of it."""
    file, secret = order.config.keys.first_key_file, None
    if not server.keys and order.makes_first_key:
        secret = await first_key.make(postgres, file)
        with suppress(Unavailable):  # it will follow the database in any case
            await server.read_keys()
    told = first_key.tell(secret, file, order.address) if server.keys else first_key.NONE
    config, workers = order.config, order.workers
    budget = await budget_of(postgres, config, workers) if server.is_postgres_up else None
    return Ready(
        greeting=told,
        database=postgres.address,
        connections=str(budget or ""),
        lacks_connections=budget is not None and not budget.is_enough,
    )
