"""The signs by which it is found out that something is wrong with a server, each in words.

Of figures alone. Each returns what is wrong, and nothing where it is not.
"""

from collections.abc import Sequence
from typing import Final

from ingest.dashboard.condition import Condition, Worker
from ingest.dashboard.text import count_of
from ingest.observe.gauges import QUEUES
from ingest.observe.metrics import EVENT_ROUTES
from ingest.store.rejected import COUNTED_MAX

_FULL: Final = 0.9
_HALF: Final = 0.5
_STUCK_S: Final = 900
_SLOW_S: Final = 1.0
_LATE_S: Final = 0.1
_BEHIND_S: Final = 600
_BEHIND_PASSES: Final = 10
_SERVERS_OWN: Final = 500


def no_worker(condition: Condition) -> str:
    """Say that nobody serves."""
    return "" if condition.gauges else "No worker serves"


def takes_nothing(condition: Condition) -> str:
    """Say that every event is refused."""
    return (
        "Every event is refused: Postgres is away and the spool takes nothing"
        if (_is_away(condition) and not _has_room(condition))
        else ""
    )


def refuses_events(condition: Condition) -> str:
    """Say how many requests with events got a 5xx lately."""
    refused = sum(
        count
        for (route, status), count in condition.lately.counts.answers.items()
        if route in EVENT_ROUTES and status >= _SERVERS_OWN
    )
    if not refused:
        return ""
    return f"{count_of(refused, 'request')} with events got a 5xx in the last five minutes"


def events_damaged(condition: Condition) -> str:
    """Say how many events the disk of the spool has spoilt."""
    damaged = condition.counts["damaged_events"]
    told = count_of(damaged, "acknowledged event")
    return f"The spool's disk damaged or lost {told} since the start" if damaged else ""


def early_acks_lost(condition: Condition) -> str:
    """Say how many events were refused behind an early 202."""
    lost = condition.quarter.counts["async_refused_events"]
    told = count_of(lost, "event")
    return f"{told} were refused that had been answered with an early 202" if lost else ""


def not_durable(condition: Condition) -> str:
    """Say what makes a commit of Postgres less than durable."""
    off = condition.postgres.durability_off if condition.postgres else []
    return f"Postgres has {' and '.join(off)} off: a commit is not durable" if off else ""


def postgres_away(condition: Condition) -> str:
    """Say that Postgres is away, and what becomes of events."""
    if not _is_away(condition) or not _has_room(condition):
        return ""
    reason = f": {condition.trouble}" if condition.trouble else ""
    return f"Postgres can't be written to{reason}"


def rows_refused(condition: Condition) -> str:
    """Say that Postgres refuses rows."""
    is_so = condition.gauges and condition.gauges.is_refusing_rows
    return "Postgres, though up, refuses rows" if is_so else ""


def nodes_away(condition: Condition) -> str:
    """Say how many nodes of Citus are away."""
    away = int(condition.gauges.nodes_away) if condition.gauges else 0
    if not away:
        return ""
    return f"{count_of(away, 'node')} of Citus {'is' if away == 1 else 'are'} away"


def dead_letters(condition: Condition) -> str:
    """Say how many events wait among the rejected ones."""
    events = int(condition.gauges.rejected_events) if condition.gauges else 0
    if not events:
        return ""
    least = "At least " if events >= COUNTED_MAX else ""
    return f"{least}{count_of(events, 'acknowledged event')} refused by Postgres wait for somebody"


def spool_fills(condition: Condition) -> str:
    """Say that the spool is nearly full."""
    gauges, bounds = condition.gauges, condition.bounds
    if gauges is None or not bounds.has_spool:
        return ""
    if gauges.spool_bytes > _HALF * bounds.spool_bytes:
        return "The spool is half full"
    # Free bytes are known from the first look at the disk on.
    is_low = gauges.spool_free_bytes < 2 * bounds.spool_free_bytes
    return "The spool's disk is nearly full" if is_low else ""


def spool_stuck(condition: Condition) -> str:
    """Say that the spool is not replayed."""
    gauges = condition.gauges
    is_so = gauges and gauges.spool_oldest_s > _STUCK_S and gauges.is_postgres_up
    return "Events wait in the spool although Postgres is up" if is_so else ""


def queue_fills(condition: Condition) -> str:
    """Say which queue is half full."""
    gauges = condition.gauges
    if gauges is None:
        return ""
    full = [
        queue
        for queue in QUEUES
        if (waiting := gauges.waiting(queue))
        and (
            waiting.events > _HALF * gauges.queue_events_limit
            or waiting.bytes > _HALF * gauges.queue_bytes_limit
        )
    ]
    return f"The {' and the '.join(full)} queue is half full" if full else ""


def slow(condition: Condition) -> str:
    """Say that answers take long."""
    is_so = condition.lately.counts.histograms["wait_s"].quantile(0.99) > _SLOW_S
    return "One event in a hundred waits for more than a second" if is_so else ""


def overworked(condition: Condition) -> str:
    """Say that event loops are late."""
    is_so = condition.lately.counts.histograms["loop_lag_s"].quantile(0.9) > _LATE_S
    return "The event loop is late by more than 0.1 s" if is_so else ""


def connections_full(condition: Condition) -> str:
    """Say that there is room for few more connections."""
    gauges, limit = condition.gauges, condition.bounds.connections
    refused = condition.lately.counts["refused_connections"]
    is_so = refused or (gauges and gauges.connections > _FULL * limit)
    return "Nearly all connections are taken" if is_so else ""


def worker_missing(condition: Condition) -> str:
    """Say which workers do not serve."""
    missing = [each for each in condition.workers if not each.pid]
    is_so = missing and condition.gauges
    return f"{_workers(missing)} not serve" if is_so else ""


def _workers(workers: Sequence[Worker]) -> str:
    numbers = ", ".join(str(each.number) for each in workers)
    return f"Worker {numbers} does" if len(workers) == 1 else f"Workers {numbers} do"


def worker_restarts(condition: Condition) -> str:
    """Say which workers end by themselves."""
    restarts = condition.quarter.restarts
    told = "A worker" if restarts == 1 else f"{restarts:,} times a worker"
    return f"{told} ended and was replaced in the last quarter of an hour" if restarts else ""


def partitions_missing(condition: Condition) -> str:
    """Say that partitions ahead are missing."""
    is_so = condition.gauges and condition.gauges.partitions_ahead < 1
    return "No partition of events is ready for the time to come" if is_so else ""


def no_keys(condition: Condition) -> str:
    """Say that nobody has a key."""
    is_so = condition.gauges and not condition.gauges.keys
    return "The server knows no API key, so it takes no event" if is_so else ""


def postgres_full(condition: Condition) -> str:
    """Say that Postgres has few connections left."""
    budget = condition.postgres.connections if condition.postgres else None
    return (
        f"Postgres may run out of connections: {budget}" if budget and not budget.is_enough else ""
    )


def archive_behind(condition: Condition) -> str:
    """Say that the archive is behind."""
    bounds, lag_s = condition.bounds, condition.insights.gauges.lag_s
    is_so = lag_s > max(_BEHIND_S, _BEHIND_PASSES * bounds.archive_interval_s)
    if not is_so or not bounds.has_archive:
        return ""
    return f"The archive is {count_of(int(lag_s // 60), 'minute')} behind"


def retention_waits(condition: Condition) -> str:
    """Say that something is to go and can not."""
    is_so = condition.gauges and condition.gauges.is_retention_waiting
    return "Events wait that are to go" if is_so else ""


def insights_restarts(condition: Condition) -> str:
    """Say how often the insights process ended."""
    is_so = condition.quarter.insights_restarts
    return (
        "The insights process ended and was replaced in the last quarter of an hour"
        if is_so
        else ""
    )


def _is_away(condition: Condition) -> bool:
    return condition.gauges is not None and not condition.gauges.is_postgres_up


def _has_room(condition: Condition) -> bool:
    return condition.gauges is not None and bool(condition.gauges.spool_has_room)
