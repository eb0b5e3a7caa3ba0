"""The database of a configuration, brought to where a server can use it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ingest.config import Config
from ingest.errors import StartupError
from ingest.store import connection_budget, migrations, upkeep
from ingest.store.connection_budget import ConnectionBudget
from ingest.store.database_url import forget_unsearchable_home
from ingest.store.failures import Unavailable
from ingest.store.horizons import Kept
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from ingest.store.retention import Retention
from ingest.store.turns import Turns

_PATIENCE_S: Final = 600.0


def make_postgres(config: Config, url: str, shared: int | None = None) -> Postgres:
    """Return the database that a configuration names; raise StartupError for no proper URL.

    `shared` is the descriptor that all processes of a server have, by which they take turns.
    """
    forget_unsearchable_home()
    return Postgres(
        url,
        connect_timeout_s=config.database.connect_timeout_s,
        commit_timeout_s=config.writer.commit_timeout_s,
        turns=Turns(shared),
    )


def connections_needed(config: Config, workers: int) -> int:
    """Return how many connections to Postgres a server of so many workers has at once at most."""
    return connection_budget.needed(
        workers=workers,
        writers=config.writer.connections,
        has_insights=config.archive.enabled or config.dashboard.enabled,
    )


async def budget_of(postgres: Postgres, config: Config, workers: int) -> ConnectionBudget | None:
    """Return how that compares with what Postgres allows; None if it can't be asked."""
    with suppress(Unavailable):
        async with postgres.session() as connection:
            if not postgres.is_pooled:
                return await connection_budget.read(connection, connections_needed(config, workers))
    return None


def make_partitions(config: Config, postgres: Postgres) -> Partitions:
    """Return the partitions that a configuration asks for."""
    events = config.events
    return Partitions(
        postgres,
        events.partition_by,
        events.partitions_ahead,
        per_hour_max=events.past_partitions_per_hour_max,
    )


def kept_of(config: Config) -> Kept:
    """Return how long a configuration has events kept."""
    archive = config.archive
    interval_s = archive.interval_s if archive.enabled else None
    return Kept(config.events.retain_days, archive.retain_days, interval_s)


def make_retention(
    config: Config,
    postgres: Postgres,
    count: Callable[[int, int], None] = lambda _partitions, _events: None,
) -> Retention:
    """Return what has events go that are older than a configuration has them kept.

    `count` is told of partitions and events that have gone.
    """
    return Retention(postgres, kept_of(config), count=count)


async def prepare(postgres: Postgres, config: Config) -> None:
    """Make all that servers need and what they can do without; raise StartupError.

    However long that takes: what is kept from them by a lock, and what is made while they serve.
    """
    await postgres.wait_until_up(config.database.start_timeout_s)
    try:
        await migrations.migrate(postgres, _PATIENCE_S)
        await make_partitions(config, postgres).ensure()
        await upkeep.complete(postgres)
    except Unavailable as failure:
        raise _unprepared(failure) from failure


async def prepare_to_serve(postgres: Postgres, partitions: Partitions, timeout_s: float) -> None:
    """Wait for Postgres, and make what a server can't do without; raise StartupError."""
    await postgres.wait_until_up(timeout_s)
    try:
        await migrations.migrate_to_serve(postgres)
        await partitions.ensure()
    except Unavailable as failure:
        raise _unprepared(failure) from failure


def _unprepared(failure: Unavailable) -> StartupError:
    return StartupError(f"the database can't be prepared: {failure}")
