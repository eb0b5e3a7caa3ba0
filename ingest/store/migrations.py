"""Schema migrations: numbered SQL files, each applied once, in order, under an advisory lock.

A new database gets all of them in one transaction, in which Citus distributes its tables if it is
there (store/citus.py). One that is in use gets each in a transaction of its own, which keeps nobody
waiting for longer than a second, others behind it included: when somebody holds a lock (a dump, a
long query) it lets everybody pass, says who it is, and tries again (store/brief.py). What a server
takes events without is waited for while it serves (store/upkeep.py). A file that takes longer on
purpose sets its own time-out.
"""

import asyncio
import itertools
import math
import random
import time
from importlib.resources import files
from typing import Final, NamedTuple

import asyncpg
import structlog

from ingest.errors import StartupError
from ingest.share.turn import Turn
from ingest.store import brief, citus
from ingest.store.failures import Outage, Unavailable, is_of_node
from ingest.store.postgres import Connection, Postgres

log = structlog.get_logger(__name__)

NEEDED_TO_SERVE: Final = 7
"""Events are taken with the schema of this version; what came after it is for reading them."""

_LOCK = 0x6E6F_6E69_746F_0001  # "nonito", 1
_TIMEOUT_S = 600.0  # a migration may rewrite a table
_PATIENCE_S = 10.0
_PATIENCE_BEFORE_SERVING_S = 3.0
_PAUSE_S = 2.0
_SAY_EVERY_S = 30.0
# On a machine on which the work alone takes longer than that, it gets longer after some tries.
_BRIEF_TRIES: Final = 20
# The oldest first. Of other roles' sessions no more is to be seen than who they are.
_HOLDER: Final = (
    "SELECT pid, application_name, relation::regclass::text AS relation,"
    " extract(epoch FROM clock_timestamp() - xact_start)::int AS since_s"
    " FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)"
    " WHERE granted AND locktype = 'relation' AND pid <> pg_backend_pid()"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (relation = ANY (ARRAY['apps', 'events']::regclass[])"
    "  OR relation IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'events'::regclass))"
    " ORDER BY xact_start NULLS LAST, pid LIMIT 1"
)
_JOURNAL = (
    "CREATE TABLE IF NOT EXISTS nonito_migrations ("
    " version int PRIMARY KEY,"
    " name text NOT NULL,"
    " applied_at timestamptz NOT NULL DEFAULT now())"
)
# Not by to_regclass: that may not see what another server made while this one waited for its turn.
_IS_THERE = (
    "SELECT EXISTS (SELECT FROM pg_class"
    " WHERE relname = 'nonito_migrations' AND pg_table_is_visible(oid))"
)


class Migration(NamedTuple):
    """One numbered file of `schema/`."""

    version: int
    name: str
    sql: str


def known() -> list[Migration]:
    """Return the migrations that this version of the server carries, in order."""
    found = []
    for file in files("ingest.store").joinpath("schema").iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found)


class Waiting(Unavailable):
    """A migration does not get a lock that somebody else holds; nothing of it was changed."""

    def __init__(self, migration: Migration, holder: str) -> None:
        super().__init__(
            f"migration {migration.version} ({migration.name}) waits for a lock",
            stored=False,
            outage=Outage.FAILING,
            text=holder,
        )
        self.migration = migration


async def migrate(
    postgres: Postgres, patience_s: float = _PATIENCE_S, turn: Turn | None = None
) -> None:
    """Bring the database to this version's schema; servers that start at once take turns.

    A migration that fails leaves the database as it was before it. A role that may not CREATE can
    do this where nothing is due. Raises Waiting when a lock can't be had within `patience_s`, or
    ten minutes for what is needed to serve; other Unavailable, or StartupError.
    """
    async with postgres.session(_TIMEOUT_S, turn) as connection:
        await require_utf8(connection)
        while left := await due(connection):
            is_needed = left[0].version <= NEEDED_TO_SERVE
            await _apply_patiently(connection, left[0], _TIMEOUT_S if is_needed else patience_s)


async def migrate_to_serve(postgres: Postgres) -> None:
    """Do what `migrate` does, but wait for no lock that events can do without; raise the same."""
    try:
        await migrate(postgres, _PATIENCE_BEFORE_SERVING_S)
    except Waiting as waiting:
        if waiting.migration.version <= NEEDED_TO_SERVE:
            raise
        log.warning(
            "a migration is left to later: events are taken without it", reason=str(waiting)
        )


async def _apply_patiently(connection: Connection, migration: Migration, patience_s: float) -> None:
    """Apply what is due next, as soon as nobody is in the way; raise Waiting or StartupError."""
    end_s = time.monotonic() + patience_s
    say_s = -math.inf
    for tries in itertools.count():
        if await _was_applied(connection, brief.LIMIT_MS * max(1, tries - _BRIEF_TRIES)):
            return
        holder = await _find_holder(connection)
        if time.monotonic() >= end_s:
            raise Waiting(migration, holder)
        if time.monotonic() >= say_s:
            say_s = time.monotonic() + _SAY_EVERY_S
            log.warning("a migration waits", version=migration.version, reason=holder)
        await asyncio.sleep(_PAUSE_S * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


async def _was_applied(connection: Connection, brief_ms: float) -> bool:
    """Apply what is due next; return whether nobody was in the way."""
    try:
        async with connection.transaction():
            applied = await apply_due(connection, brief_ms)
    except brief.IN_THE_WAY:
        return False
    for each in applied:
        log.info("migrated", version=each.version, name=each.name)
    return True


async def _find_holder(connection: Connection) -> str:
    found = await connection.fetchrow(_HOLDER)
    if found is None:
        return "somebody held a lock"
    since = "" if found["since_s"] is None else f" for {found['since_s']} s"
    who = f"process {found['pid']} ({found['application_name'] or 'unnamed'})"
    return f"{found['relation']} is in use by {who}{since}"


async def due(connection: Connection) -> list[Migration]:
    """Return what is still to be applied; raise StartupError if the database is newer than this."""
    return pending(await applied_versions(connection), await asyncio.to_thread(known))


async def apply_due(connection: Connection, brief_ms: float = brief.LIMIT_MS) -> list[Migration]:
    """Apply, within a transaction, all that is due to a new database, to one in use the next.

    Returns what was applied: nothing, if somebody else was faster. Raises StartupError, or what of
    `brief.IN_THE_WAY` says that somebody holds a lock.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    migrations = await due(connection)
    try:
        if migrations and migrations[0].version == 1:
            await connection.execute(_JOURNAL)
        elif migrations:
            migrations = migrations[:1]
            await connection.execute(brief.limits(brief_ms))
        for migration in migrations:
            await _apply(connection, migration)
        if migrations and migrations[0].version == 1:
            await citus.distribute(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StartupError(
            f"migrations are due, and this role may not apply them ({error}):"
            " run `nonito migrate` as the role that owns the tables, or GRANT it CREATE"
        ) from error
    return migrations


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        for statement in statements(migration.sql):
            await connection.execute(statement)
    except (asyncpg.InsufficientPrivilegeError, *brief.IN_THE_WAY):
        raise
    except asyncpg.PostgresError as error:
        if is_of_node(error):
            raise
        raise StartupError(
            f"migration {migration.version} ({migration.name}) failed, nothing was changed: {error}"
        ) from error
    await connection.execute(
        "INSERT INTO nonito_migrations (version, name) VALUES ($1, $2)",
        migration.version,
        migration.name,
    )


def statements(sql: str) -> list[str]:
    """Return the statements of a migration: Citus wants each in a message of its own.

    Each ends with a line, and none with a line of a body, between two `$$`.
    """
    found, lines = [], list[str]()
    for line in sql.splitlines():
        lines.append(line)
        is_end = line.rstrip().endswith(";") and not line.lstrip().startswith("--")
        if is_end and "\n".join(lines).count("$$") % 2 == 0:
            found.append("\n".join(lines))
            lines = []
    if "\n".join(lines).strip():
        found.append("\n".join(lines))
    return found


async def require_utf8(connection: Connection) -> None:
    """Raise StartupError for a database in which not every event could be stored."""
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StartupError(
            f"the database's encoding is {encoding}, and events need UTF8: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


async def applied_versions(connection: Connection) -> set[int]:
    """Return the versions that the database has; none when it was never migrated.

    Raises StartupError where the role sees no schema, in which that could be told.
    """
    if await connection.fetchval("SELECT current_schema()") is None:
        raise StartupError(
            "this role may use no schema of its search_path: GRANT USAGE ON SCHEMA public TO it"
        )
    if not await connection.fetchval(_IS_THERE):
        return set()
    rows = await connection.fetch("SELECT version FROM nonito_migrations")
    return {int(row["version"]) for row in rows}


def pending(applied: set[int], carried: list[Migration]) -> list[Migration]:
    """Return what is still to be applied; raise StartupError if the database is newer than this."""
    if newer := applied - {migration.version for migration in carried}:
        raise StartupError(
            f"the database has schema version {max(newer)}, this server knows "
            f"{carried[-1].version}: run a newer version of nonito"
        )
    return [migration for migration in carried if migration.version not in applied]
