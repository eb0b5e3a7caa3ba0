"""What `nonito check` looks at in the database, in words that a person understands."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from ingest.errors import StartupError
from ingest.store import (
    citus_checks,
    connection_budget,
    erasing,
    migrations,
    retention_report,
    trial,
    xact_index,
)
from ingest.store.failures import Named, RowRefused
from ingest.store.finding import Finding
from ingest.store.partition_map import existing_ranges
from ingest.store.postgres import Connection, durability_off, is_pooled
from ingest.store.table import Table

_VERSION_MIN = 150_000
_WAL_KEPT_MB = 512
_REJECTED_MAX = 100_000
_LAST_REJECTED = """
SELECT last.*, last.rejected_at > now() - interval '10 minutes' AS is_recent, total
FROM (SELECT count(*) AS total FROM (SELECT 1 FROM rejected_events LIMIT $1) AS first) AS counted
LEFT JOIN LATERAL (
    SELECT sqlstate, on_table, on_column, broken_constraint, rejected_at FROM rejected_events
    ORDER BY rejected_at DESC LIMIT 1
) AS last ON true
"""
_PARTITIONED_AHEAD: Final = timedelta(days=7)
"""Less is too little where this role can't make more."""
_XACT_DEFAULT: Final = (
    "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute"
    " ON attrelid = adrelid AND attnum = adnum"
    " WHERE adrelid = 'events'::regclass AND attname = 'xact'"
)
_NO_KEY: Final = "no API key: nonito keys create --app NAME"


async def examine(connection: Connection, table: Table, connections: int) -> list[Finding]:
    """Look at everything that serving needs; changes nothing.

    Events go into `table`, over so many connections at most.
    """
    pooler = await _pooler(connection)
    if not all(finding.is_good for finding in pooler):
        return pooler  # the connection has ended
    findings = [
        *pooler,
        await _version(connection),
        await _encoding(connection),
        await _writable(connection),
        *await _durability(connection),
    ]
    findings.append(
        _clients(connections) if pooler else await _connections(connection, connections)
    )
    if all(finding.is_good for finding in findings):
        findings += await _schema(connection, table, connections)
        findings += await _advice(connection)
    return findings


async def _schema(connection: Connection, table: Table, connections: int) -> list[Finding]:
    """Look at the tables; where there are none yet, whether they can be made."""
    try:
        due = await migrations.due(connection)
        if due and due[0].version == 1:
            return await _empty_database(connection, table)
    except StartupError as error:
        return [Finding(False, str(error))]
    except asyncpg.InsufficientPrivilegeError as error:
        return [Finding(False, f"this role can't read what was migrated: {error}; GRANT it SELECT")]
    if due:
        return [await _migrations_due(connection, len(due))]
    return [
        Finding(True, "the schema is up to date"),
        *await citus_checks.examine(connection, connections),
        *await _tried(partitions(connection), _strays(connection)),
        await _trial(connection, table),
        *await _tried(
            _marks(connection),
            _keys(connection),
            _rejected(connection),
            _retention(connection),
            _erasing(connection),
        ),
    ]


async def _tried(*looks: Awaitable[Finding]) -> list[Finding]:
    """Return what was found; for a look that the role may not have, that."""
    findings = []
    for look in looks:
        try:
            findings.append(await look)
        except asyncpg.SyntaxOrAccessError as error:
            findings.append(Finding(False, f"{error} (SQLSTATE {error.sqlstate})"))
    return findings


async def _empty_database(connection: Connection, table: Table) -> list[Finding]:
    """Make everything, try it out, and undo it; raise StartupError if that can't be done."""
    async with trial.undone(connection):
        made = await migrations.apply_due(connection)
        storing = await _trial(connection, table)
    said = f"the database is empty: `nonito serve` makes the tables ({len(made)} migrations)"
    return [Finding(True, said), storing, Finding(True, f"{_NO_KEY}, then start the server")]


async def _migrations_due(connection: Connection, count: int) -> Finding:
    """Say whether this role may apply them; to try it would hold up the servers that run."""
    if hindrance := await trial.why_no_migrations(connection):
        said = f"{hindrance}: run `nonito migrate` as the role that owns the tables"
        return Finding(False, f"{count} migrations are due; {said}")
    return Finding(True, f"{count} migrations are due: `nonito serve` applies them")


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


def _clients(needed: int) -> Finding:
    return Finding(True, f"the pooler has to let {needed} clients in: max_client_conn")


async def _connections(connection: Connection, needed: int) -> Finding:
    budget = await connection_budget.read(connection, needed)
    return Finding(budget.is_enough, str(budget))


async def partitions(connection: Connection) -> Finding:
    """Say whether events have partitions, today and in a week, or will get them."""
    now = datetime.now(UTC)
    ranges = await existing_ranges(connection)
    end = max((each.end for each in ranges), default=now)
    holds_today = any(each.start <= now < each.end for each in ranges)
    said = f"{len(ranges)} partitions of events, to {end:%Y-%m-%d}"
    if not holds_today:
        said = "no partition of events holds today"
    if hindrance := await trial.why_no_partitions(connection):
        is_enough = holds_today and end > now + _PARTITIONED_AHEAD
        said += f"; another role has to make more, by `nonito migrate`: {hindrance}"
        return Finding(is_enough, said)
    return Finding(True, said if holds_today else f"{said} yet: `nonito serve` makes them")


async def _strays(connection: Connection) -> Finding:
    if await connection.fetchval("SELECT EXISTS (SELECT 1 FROM events_default)"):
        return Finding(
            True, "events_default holds events without a partition; most move within minutes"
        )
    return Finding(True, "no strays in events_default")


async def _trial(connection: Connection, table: Table) -> Finding:
    if hindrance := await trial.why_no_events(connection, table):
        return Finding(False, f"this role can't store events: {hindrance}")
    return Finding(True, "this role may do all that storing events takes")


async def _marks(connection: Connection) -> Finding:
    """Say whether new events tell which transaction wrote them, and whether that finds them."""
    if await connection.fetchval(_XACT_DEFAULT) != "txid_current()":
        return Finding(
            False,
            "new events don't tell which transaction wrote them, so no archive finds them:"
            " ALTER TABLE events ALTER COLUMN xact SET DEFAULT txid_current()",
        )
    lacking = await xact_index.lacking(connection)
    if not lacking:
        return Finding(True, "every partition has its index by transaction")
    said = f"{len(lacking)} partitions have no index by transaction yet: new events are read slowly"
    if hindrance := await trial.why_no_partitions(connection):
        return Finding(
            True, f"{said}; another role has to make it, by `nonito migrate`: {hindrance}"
        )
    return Finding(True, f"{said}; `nonito serve` makes it")


async def _retention(connection: Connection) -> Finding:
    """Say whether events go that are older than they are kept, and who has to see to it."""
    report = await retention_report.read(connection)
    if not any(each.days for each in (report.others, *report.apps) if each):
        return Finding(
            True, "no events go: they are kept for ever, or no server has said otherwise"
        )
    said = "events go that are older than they are kept: nonito retention"
    if report.troubles:
        return Finding(True, f"{said}; something waits: {report.troubles[0]}")
    if hindrance := await trial.why_no_partitions(connection):
        return Finding(
            True, f"{said}; another role has to see to it, by `nonito retention run`: {hindrance}"
        )
    return Finding(True, said)


async def _erasing(connection: Connection) -> Finding:
    """Say whether this role may erase people; events are stored without it."""
    if await connection.fetchval(f"SELECT {erasing.MAY}"):
        return Finding(True, "this role may erase people")
    return Finding(
        True,
        "this role may not erase people: GRANT SELECT, INSERT, UPDATE ON erasures and DELETE ON"
        " events, person_links has servers do it",
    )


async def _rejected(connection: Connection) -> Finding:
    """Say whether Postgres refuses real events, as the server's own alarm does."""
    found = await connection.fetchrow(_LAST_REJECTED, _REJECTED_MAX)
    if found is None or not found["total"]:
        return Finding(True, "no rejected events")
    total = f"{found['total']}{'' if found['total'] < _REJECTED_MAX else ' or more'}"
    said = f"{total} rejected events, the last {found['rejected_at']:%Y-%m-%d %H:%M:%S} UTC"
    named = Named(found["on_table"], found["on_column"], found["broken_constraint"])
    reason = RowRefused(None, found["sqlstate"], "", named=named).reason
    return Finding(not found["is_recent"], f"{said} ({reason}): nonito rejected list")


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
        return Finding(False, _NO_KEY)
    return Finding(True, f"{count} API keys")
