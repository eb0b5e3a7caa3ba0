"""What the harness asks of Postgres beside the check of a run: settings, a clean table, a count."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import asyncpg

from bench import machine
from bench.errors import BenchError
from bench.load.payloads import Payload
from ingest.store import tokens

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
T = TypeVar("T")

DURABLE_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")
_SETTINGS = (
    *DURABLE_SETTINGS,
    "checkpoint_timeout",
    "commit_delay",
    "max_connections",
    "max_wal_size",
    "server_version",
    "shared_buffers",
    "wal_compression",
    "wal_level",
    "wal_sync_method",
)
_CONNECT_TIMEOUT_S = 10.0
_STATEMENT_TIMEOUT_S = 120.0


def settings(database_url: str) -> dict[str, str]:
    """Return the version and the settings that a figure has to be read with."""

    async def work(connection: Session) -> dict[str, str]:
        rows = await connection.fetch(
            "SELECT name, current_setting(name) AS value FROM pg_settings"
            " WHERE name = ANY($1) ORDER BY name",
            _SETTINGS,
        )
        return {row["name"]: row["value"] for row in rows}

    return run(database_url, work)


def clear(database_url: str) -> None:
    """Empty the events table and write a checkpoint, so that every run starts from the same."""

    async def work(connection: Session) -> None:
        await connection.execute("TRUNCATE events")
        await connection.execute("CHECKPOINT")

    run(database_url, work)


def count(database_url: str) -> int:
    """Return how many events are stored."""

    async def work(connection: Session) -> int:
        return int(await connection.fetchval("SELECT count(*) FROM events"))

    return run(database_url, work)


def count_others(database_url: str, payload: Payload) -> int:
    """Return how many of the stored events are not this one."""

    async def work(connection: Session) -> int:
        found = await connection.fetchval(
            "SELECT count(*) FROM events WHERE (event_name, event_params)"
            " IS DISTINCT FROM ($1, $2::jsonb)",
            payload.name,
            payload.params,
        )
        return int(found)

    return run(database_url, work)


def count_strangers(database_url: str, key: str) -> int:
    """Return how many of the stored events are not of the app of this API key."""

    async def work(connection: Session) -> int:
        found = await connection.fetchval(
            "SELECT count(*) FROM events WHERE app_id IS DISTINCT FROM"
            " (SELECT app_id FROM api_keys WHERE secret_sha256 = $1)",
            tokens.digest(key),
        )
        return int(found)

    return run(database_url, work)


def find_postmaster(database_url: str) -> int | None:
    """Return the process id of the server, if it is a process of this machine."""

    async def work(connection: Session) -> int | None:
        return machine.postmaster(int(await connection.fetchval("SELECT pg_backend_pid()")))

    return run(database_url, work)


def run(
    database_url: str,
    work: Callable[[Session], Awaitable[T]],
    timeout_s: float = _STATEMENT_TIMEOUT_S,
) -> T:
    """Open a connection for some work, each statement within a time; raise BenchError."""

    async def connected() -> T:
        connection = await asyncpg.connect(
            database_url, timeout=_CONNECT_TIMEOUT_S, command_timeout=timeout_s
        )
        try:
            return await work(connection)
        finally:
            await connection.close(timeout=_CONNECT_TIMEOUT_S)

    try:
        return asyncio.run(connected())
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise BenchError(f"the database: {type(error).__name__}: {error}") from error
