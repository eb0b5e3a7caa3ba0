"""How the server is: all that a page of its health tells, and that findings are found by."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ingest.config import Config
from ingest.dashboard.overs import Over
from ingest.observe.counts import Counts
from ingest.observe.gauges import Gauges, merge
from ingest.observe.history import Change
from ingest.observe.insights import InsightsGauges
from ingest.share.segment import Reading
from ingest.store.postgres_report import PostgresReport


class Bounds(NamedTuple):
    """What some of it is held to, by the configuration."""

    connections: int
    has_spool: bool
    spool_bytes: int
    spool_free_bytes: int
    partitions_ahead: int
    has_archive: bool
    archive_interval_s: float


class Worker(NamedTuple):
    """One of the server's; the successor counts, while both are there."""

    number: int
    pid: int
    """0 while it does not serve."""
    restarts: int
    connections: int
    requests: int
    """That are being handled."""
    loop_lag_s: float
    """At most in the last ten seconds."""


class Insights(NamedTuple):
    """The insights process, which tells this of itself."""

    pid: int
    restarts: int
    gauges: InsightsGauges


class Condition(NamedTuple):
    """How the server is, as of one moment."""

    at: datetime
    bounds: Bounds
    counts: Counts
    """Since the server's start."""
    now: Change
    """Of the last ten seconds."""
    lately: Change
    """Of the last five minutes."""
    quarter: Change
    """Of the last quarter of an hour."""
    gauges: Gauges | None
    """None while no worker serves."""
    workers: Sequence[Worker]
    insights: Insights
    postgres: PostgresReport | None = None
    """None where it was not asked, or could not be."""
    trouble: str = ""
    """Why it could not be asked."""
    overs: Sequence[Over] = ()
    """Who was refused something for a limit in the last five minutes, the most first."""


def bounds_of(config: Config) -> Bounds:
    """Return those of a configuration."""
    return Bounds(
        connections=config.limits.connections_max,
        has_spool=config.spool.enabled,
        spool_bytes=config.spool.bytes_max,
        spool_free_bytes=config.spool.free_bytes_min,
        partitions_ahead=config.events.partitions_ahead,
        has_archive=config.archive.enabled,
        archive_interval_s=config.archive.interval_s,
    )


def gauges_of(reading: Reading) -> Gauges | None:
    """Return what is so of all workers together."""
    found = [Gauges(*each.figures.gauges) for each in reading.live if each.figures.gauges]
    return merge(found) if found else None


def workers_of(reading: Reading) -> Sequence[Worker]:
    """Return each worker; of one that does not serve there is little to tell."""
    return [_worker(reading, number) for number in range(len(reading.restarts))]


def _worker(reading: Reading, number: int) -> Worker:
    restarts = reading.restarts[number]
    found = [each for each in reading.live if each.worker == number and each.figures.gauges]
    if not found:
        return Worker(number, 0, restarts, 0, 0, 0.0)
    gauges = [Gauges(*each.figures.gauges) for each in found]
    return Worker(
        number,
        found[-1].pid,
        restarts,
        int(sum(each.connections for each in gauges)),
        int(sum(each.requests for each in gauges)),
        max(each.loop_lag_s for each in gauges),
    )


def insights_of(reading: Reading) -> Insights:
    """Return the insights process that began last."""
    found = [each for each in reading.live if each.figures.insights]
    if not found:
        return Insights(0, reading.insights_restarts, InsightsGauges())
    last = found[-1]
    return Insights(last.pid, reading.insights_restarts, InsightsGauges(*last.figures.insights))
