"""What `nonito check` looks at in the database, in words that a person understands."""

import asyncio
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg

from ingest.errors import StartupError
from ingest.store import migrations
from ingest.store.partition_map import existing_ranges
from ingest.store.postgres import Connection, durability_off, is_pooled

_VERSION_MIN = 150_000
_WAL_KEPT_MB = 512


class Finding(NamedTuple):
    """One thing that was looked at."""

    is_good: bool
    text: str


async def examine(connection: Connection) -> list[Finding]:
    """Look at everything that serving needs; changes nothing."""
    pooler = await _pooler(connection)
    if not all(finding.is_good for finding in pooler):
        return pooler  # the connection has ended
    findings = [
        *pooler,
        await _version(connection),
        await _encoding(connection),
        await _writable(connection),
        *await _durability(connection),
        await _schema(connection),
    ]
    if all(finding.is_good for finding in findings):
        findings += [await _partitions(connection), await _strays(connection)]
        findings += [await _permission(connection), await _keys(connection)]
        findings += await _advice(connection)
    return findings


async def _pooler(connection: Connection) -> list[Finding]:
    """Say what a pooler takes away; nothing where there is none."""
    if not await is_pooled(connection):
        return []
    try:
        async with connection.transaction():
            limits = await _session_limits(connection)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return [
            Finding(
                False,
                "the pooler before Postgres breaks transactions: set pool_mode = transaction"
                " (or session), or database.url to Postgres itself",
            )
        ]
    return [
        Finding(
            True,
            "a pooler stands before Postgres: COPY, transactions and migrations work through it;"
            " in pgbouncer.ini set server_login_retry = 1, or an outage lasts up to 15 s longer",
        ),
        Finding(
            True,
            "a pooler passes no notifications on: API keys are followed by polling only"
            " (keys.poll_interval_s); set database.url to Postgres itself to have them at once",
        ),
        limits,
    ]


async def _session_limits(connection: Connection) -> Finding:
    role = await connection.fetchval("SELECT quote_ident(current_user)")
    unset = [
        name
        for name in ("lock_timeout", "statement_timeout")
        if await connection.fetchval("SELECT current_setting($1)", name) == "0"
    ]
    if not unset:
        return Finding(True, "lock_timeout and statement_timeout are set for this role")
    mend = "; ".join(f"ALTER ROLE {role} SET {name} = '5s'" for name in unset)
    return Finding(
        True,
        f"through a pooler only COPYs have {' and '.join(unset)}; for all other statements: {mend}",
    )


async def _version(connection: Connection) -> Finding:
    number = int(await connection.fetchval("SHOW server_version_num"))
    version = await connection.fetchval("SHOW server_version")
    if number < _VERSION_MIN:
        return Finding(False, f"PostgreSQL {version}: 15 or later is needed")
    return Finding(True, f"PostgreSQL {version}")


async def _encoding(connection: Connection) -> Finding:
    try:
        await migrations.require_utf8(connection)
    except StartupError as error:
        return Finding(False, str(error))
    return Finding(True, "the encoding is UTF8")


async def _writable(connection: Connection) -> Finding:
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        return Finding(False, "this server is a standby: set database.url to the primary")
    if await connection.fetchval("SHOW transaction_read_only") == "on":
        return Finding(
            False, "transactions are read-only: ALTER ROLE … RESET default_transaction_read_only"
        )
    return Finding(True, "the server takes writes")


async def _durability(connection: Connection) -> list[Finding]:
    off = await durability_off(connection)
    if not off:
        return [Finding(True, "commits are durable (fsync, synchronous_commit, full_page_writes)")]
    return [
        Finding(False, f"{name} is off: acknowledged events can be lost; turn it on")
        for name in off
    ]


async def _schema(connection: Connection) -> Finding:
    try:
        applied = await migrations.applied_versions(connection)
        pending = migrations.pending(applied, await asyncio.to_thread(migrations.known))
    except StartupError as error:
        return Finding(False, str(error))
    if pending:
        return Finding(False, f"{len(pending)} migrations are due: `nonito serve` applies them")
    return Finding(True, "the schema is up to date")


async def _partitions(connection: Connection) -> Finding:
    now = datetime.now(UTC)
    ranges = await existing_ranges(connection)
    if not any(each.start <= now < each.end for each in ranges):
        return Finding(False, "no partition of events holds today: `nonito serve` makes them")
    return Finding(True, f"{len(ranges)} partitions of events, to {max(ranges).end:%Y-%m-%d}")


async def _strays(connection: Connection) -> Finding:
    if await connection.fetchval("SELECT EXISTS (SELECT FROM events_default)"):
        return Finding(
            True, "events_default holds events without a partition; most move within minutes"
        )
    return Finding(True, "no strays in events_default")


async def _permission(connection: Connection) -> Finding:
    if await connection.fetchval("SELECT has_table_privilege('events', 'INSERT')"):
        return Finding(True, "this role may insert into events")
    return Finding(False, "this role may not insert into events: GRANT INSERT ON events TO it")


async def _advice(connection: Connection) -> list[Finding]:
    """Say what would shorten the longest commits; nothing where nothing would."""
    kept = await connection.fetchval(
        "SELECT setting::int8 FROM pg_settings WHERE name = 'min_wal_size' AND unit = 'MB'"
    )
    if kept is None or kept >= _WAL_KEPT_MB:
        return []
    return [
        Finding(
            True,
            f"min_wal_size is {kept} MB: in a rush Postgres makes new WAL files while commits wait,"
            f" 10 to 20 ms each; ALTER SYSTEM SET min_wal_size = '{_WAL_KEPT_MB}MB' keeps so much"
            " of the disk for them, then SELECT pg_reload_conf()",
        )
    ]


async def _keys(connection: Connection) -> Finding:
    count = await connection.fetchval(
        "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL"
        " AND (expires_at > now()) IS NOT FALSE"
    )
    if not count:
        return Finding(False, "no API key: nonito keys create --app NAME")
    return Finding(True, f"{count} API keys")
