"""Faults of Postgres: killed, hung, stopped, its sessions ended, locked, read-only, full."""

import asyncio
import signal
from contextlib import AsyncExitStack
from random import Random
from typing import Final, Literal

import asyncpg

from bench.audit.faults import Fault
from bench.audit.postgres import DATABASE, END_SESSIONS, MAINTENANCE
from bench.audit.system import System
from bench.chance import log_uniform

_DOWN_S: Final = 0.3
_HANG_S: Final = (0.1, 6.0)
_LOCK_S: Final = (0.1, 3.0)
_READ_ONLY_S: Final = (0.05, 1.0)
_FULL_S: Final = (0.2, 1.5)
_OTHER_S: Final = (0.5, 4.0)
_GRAB_PAUSE_S: Final = 0.01


class PostgresKill(Fault):
    """Every process of Postgres is killed, and it is started again."""

    name = "postgres-kill"
    weight = 5

    async def inject(self, system: System, random: Random) -> None:
        """Kill -9."""
        await system.database.kill()
        await asyncio.sleep(random.uniform(0, _DOWN_S))
        await system.database.start()


class PostgresHang(Fault):
    """Postgres stands still, every process of it."""

    name = "postgres-hang"
    weight = 3

    async def inject(self, system: System, random: Random) -> None:
        """SIGSTOP, then SIGCONT."""
        system.database.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(log_uniform(random, *_HANG_S))
        finally:
            system.database.signal(signal.SIGCONT)


class _Stop(Fault):
    mode: Literal["fast", "immediate"]

    async def inject(self, system: System, random: Random) -> None:
        """Stop it, then start it."""
        await system.database.stop(self.mode)
        await asyncio.sleep(random.uniform(0, _DOWN_S))
        await system.database.start()


class FastStop(_Stop):
    """An operator restarts Postgres."""

    name = "postgres-fast-stop"
    weight = 3
    mode = "fast"


class ImmediateStop(_Stop):
    """An operator restarts Postgres without patience."""

    name = "postgres-immediate-stop"
    weight = 3
    mode = "immediate"


class SessionsTerminated(Fault):
    """The server's sessions are ended, and may come back at once."""

    name = "sessions-terminated"
    weight = 8

    async def inject(self, system: System, random: Random) -> None:  # noqa: ARG002 - a moment
        """pg_terminate_backend."""
        await system.database.terminate_sessions()


class TableLocked(Fault):
    """Somebody alters the table and takes their time."""

    name = "table-locked"
    weight = 3

    async def inject(self, system: System, random: Random) -> None:
        """ACCESS EXCLUSIVE on `events`."""
        async with system.database.session() as connection, connection.transaction():
            await connection.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(log_uniform(random, *_LOCK_S))


class ReadOnlyDatabase(Fault):
    """New sessions of the database can't write, and all sessions are new."""

    name = "read-only-database"
    weight = 2

    async def inject(self, system: System, random: Random) -> None:
        """ALTER DATABASE, and everybody's session ended."""
        await system.database.execute(
            f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on",
            database=MAINTENANCE,
        )
        await _stay_read_only(system, random)


class ReadOnlySystem(Fault):
    """No session can write, old or new."""

    name = "read-only-system"
    weight = 2

    async def inject(self, system: System, random: Random) -> None:
        """ALTER SYSTEM and a reload; then, half the time, everybody's session ended."""
        async with system.database.session(MAINTENANCE) as connection:
            await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await connection.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(random.uniform(0.2, 1.0))  # old sessions fail while new ones do
        await _stay_read_only(system, random)


async def _stay_read_only(system: System, random: Random) -> None:
    try:
        await system.database.terminate_sessions()
        await asyncio.sleep(log_uniform(random, *_READ_ONLY_S))
    finally:
        await system.allow_writes()
    await system.database.terminate_sessions()


class ConnectionsFull(Fault):
    """Somebody else has every connection that Postgres allows."""

    name = "connections-full"
    weight = 2

    async def inject(self, system: System, random: Random) -> None:
        """Open them all, end the server's, and take those too."""
        async with AsyncExitStack() as stack:
            ending = await stack.enter_async_context(system.database.session(MAINTENANCE))
            await _grab(system, stack)
            await ending.execute(END_SESSIONS, DATABASE)
            end_s = asyncio.get_running_loop().time() + log_uniform(random, *_FULL_S)
            while asyncio.get_running_loop().time() < end_s:
                await _grab(system, stack)
                await asyncio.sleep(_GRAB_PAUSE_S)


async def _grab(system: System, stack: AsyncExitStack) -> None:
    """Take connections until there are none left."""
    for _ in range(system.database.connections_max):
        try:
            await stack.enter_async_context(system.database.session())
        except asyncpg.TooManyConnectionsError:
            return


class AnotherDatabase(Fault):
    """Where the server's database was, there is another one for a while, as behind a wrong URL."""

    name = "another-database"
    weight = 2
    moves_rows = True

    async def inject(self, system: System, random: Random) -> None:
        """Rename both, and back. What gets into the other one is lost."""
        await system.wait_until_all_listen()  # none would start meanwhile
        await system.database.exchange()
        try:
            await asyncio.sleep(log_uniform(random, *_OTHER_S))
        finally:
            await system.database.put_back()


FAULTS: Final = (
    PostgresKill(), PostgresHang(), FastStop(), ImmediateStop(), SessionsTerminated(),
    TableLocked(), ReadOnlyDatabase(), ReadOnlySystem(), ConnectionsFull(),
    AnotherDatabase(),
)  # fmt: skip
