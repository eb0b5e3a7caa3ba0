"""The parts of a run, one after the other: fill, archive, ask, look how fresh, and load."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.insights import asking, filling, freshness, ingestion, place
from bench.insights.filling import Bar, Site
from bench.insights.questions import all_kinds
from bench.insights.result import Asked, Found, Storage
from bench.load import database
from bench.load.database import Session


class InsightsPlan(NamedTuple):
    """How much of everything."""

    events: int
    rounds: int
    load_seconds: float
    kept: Path | None = None


def measure(plan: InsightsPlan, bar: Bar, on_asked: Callable[[Sequence[Asked]], None]) -> Found:
    """Measure all of it, and tell of the questions as soon as they are; raise BenchError."""
    with place.opened(plan.kept) as where:
        site = filling.prepared(where, plan.events, bar)
        kinds = all_kinds(site.filled.period, plan.events)
        with bar("asking", len(kinds) * plan.rounds) as update:
            asked = asking.ask(site, kinds, plan.rounds, update)
        on_asked(asked)
        storage = _storage(site)
        with bar("is it fresh", plan.rounds * freshness.PROBES) as update:
            fresh_s = freshness.measure(site, plan.rounds, update)
        with bar("loading", plan.rounds * ingestion.LOADS) as update:
            loads, faults = ingestion.measure(site, plan.rounds, plan.load_seconds, update)
        site.views.rest()
        return Found(
            plan.events,
            asked,
            storage,
            site.filled.archiving,
            fresh_s,
            loads,
            faults,
            database.settings(where.database_url),
        )


def _storage(site: Site) -> Storage:
    async def work(connection: Session) -> Storage:
        archived = await connection.fetchrow(
            "SELECT sum(rows), sum(bytes), count(*) FROM archive_files WHERE app_id = $1",
            site.app_id,
        )
        stored = await connection.fetchval("SELECT count(*) FROM events")
        size = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('events')"
        )
        return Storage(*map(int, (*(archived or ()), stored, size)))

    return database.run(site.place.database_url, work, filling.TIMEOUT_S)
