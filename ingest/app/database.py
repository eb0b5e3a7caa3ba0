"""The database of a configuration, brought to where a server can use it."""

from contextlib import suppress

from ingest.config import Config
from ingest.errors import StartupError
from ingest.store import connection_budget, migrations
from ingest.store.connection_budget import ConnectionBudget
from ingest.store.database_url import forget_unsearchable_home
from ingest.store.failures import Unavailable
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from ingest.store.turns import Turns


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
    return connection_budget.needed(workers=workers, writers=config.writer.connections)


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


async def prepare(postgres: Postgres, config: Config) -> None:
    """Bring the database to where the server can use it; raise StartupError."""
    partitions = make_partitions(config, postgres)
    await prepare_partitions(postgres, partitions, config.database.start_timeout_s)


async def prepare_partitions(postgres: Postgres, partitions: Partitions, timeout_s: float) -> None:
    """Wait for Postgres, and make schema and partitions; raise StartupError."""
    await postgres.wait_until_up(timeout_s)
    try:
        await migrations.migrate(postgres)
        await partitions.ensure()
    except Unavailable as failure:
        raise StartupError(f"the database can't be prepared: {failure}") from failure
