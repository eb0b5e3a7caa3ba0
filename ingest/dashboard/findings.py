"""What can be wrong with a server: each in words, with what it means for clients and what to do.

A closed set, found by figures alone. What `ops/alerts.yml` tells of as well has the same name there
and the same words for what to do; a test holds the two together.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from ingest.dashboard import overs
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


class Grade(Enum):
    """How bad it is; the worst first."""

    CRITICAL = "critical"
    """Events are refused or lost: somebody has to look now."""
    WARNING = "warning"
    """Nothing is lost, but somebody has to look before it is."""


class Kind(Enum):
    """All that can be found, by the name of its alert if there is one."""

    NO_WORKER = "NonitoDown"
    TAKES_NOTHING = "NonitoTakesNothing"
    REFUSES_EVENTS = "NonitoRefusesEvents"
    EVENTS_DAMAGED = "NonitoEventsDamaged"
    EARLY_ACKS_LOST = "NonitoEarlyAcksLost"
    NOT_DURABLE = "not durable"
    POSTGRES_AWAY = "NonitoPostgresAway"
    ROWS_REFUSED = "NonitoRowsRefused"
    DEAD_LETTERS = "NonitoDeadLetters"
    SPOOL_FILLS = "NonitoSpoolFills"
    SPOOL_STUCK = "NonitoSpoolStuck"
    QUEUE_FILLS = "NonitoQueueFills"
    SLOW = "NonitoSlow"
    OVERWORKED = "NonitoOverworked"
    CONNECTIONS_FULL = "NonitoConnectionsFull"
    WORKER_MISSING = "worker missing"
    WORKER_RESTARTS = "NonitoWorkerRestarts"
    PARTITIONS_MISSING = "NonitoPartitionsMissing"
    NO_KEYS = "NonitoNoKeys"
    OVER_LIMIT = "over limit"
    POSTGRES_FULL = "Postgres full"
    ARCHIVE_BEHIND = "archive behind"
    RETENTION_WAITS = "NonitoRetentionWaits"
    INSIGHTS_RESTARTS = "insights restarts"


class Finding(NamedTuple):
    """One thing that is wrong."""

    kind: Kind
    grade: Grade
    what: str
    means: str
    """For clients, and for what is asked."""
    mend: str
    """What to do."""
    place: str
    """Which part of the page has its figures."""


class _Rule(NamedTuple):
    kind: Kind
    grade: Grade
    what: Callable[[Condition], str]
    """Says what is wrong; empty if it is not."""
    means: str
    mend: str
    place: str


def find(condition: Condition) -> Sequence[Finding]:
    """Return what is wrong, the worst first."""
    found = [
        Finding(rule.kind, rule.grade, what, rule.means, rule.mend, rule.place)
        for rule in _RULES
        if (what := rule.what(condition))
    ]
    return sorted(found, key=lambda each: list(Grade).index(each.grade))


def _no_worker(condition: Condition) -> str:
    return "" if condition.gauges else "No worker serves"


def _takes_nothing(condition: Condition) -> str:
    return (
        "Every event is refused: Postgres is away and the spool takes nothing"
        if (_is_away(condition) and not _has_room(condition))
        else ""
    )


def _refuses_events(condition: Condition) -> str:
    refused = sum(
        count
        for (route, status), count in condition.lately.counts.answers.items()
        if route in EVENT_ROUTES and status >= _SERVERS_OWN
    )
    if not refused:
        return ""
    return f"{count_of(refused, 'request')} with events got a 5xx in the last five minutes"


def _events_damaged(condition: Condition) -> str:
    damaged = condition.counts["damaged_events"]
    told = count_of(damaged, "acknowledged event")
    return f"The spool's disk damaged or lost {told} since the start" if damaged else ""


def _early_acks_lost(condition: Condition) -> str:
    lost = condition.quarter.counts["async_refused_events"]
    told = count_of(lost, "event")
    return f"{told} were refused that had been answered with an early 202" if lost else ""


def _not_durable(condition: Condition) -> str:
    off = condition.postgres.durability_off if condition.postgres else []
    return f"Postgres has {' and '.join(off)} off: a commit is not durable" if off else ""


def _postgres_away(condition: Condition) -> str:
    if not _is_away(condition) or not _has_room(condition):
        return ""
    reason = f": {condition.trouble}" if condition.trouble else ""
    return f"Postgres can't be written to{reason}"


def _rows_refused(condition: Condition) -> str:
    is_so = condition.gauges and condition.gauges.is_refusing_rows
    return "Postgres, though up, refuses rows" if is_so else ""


def _dead_letters(condition: Condition) -> str:
    events = int(condition.gauges.rejected_events) if condition.gauges else 0
    if not events:
        return ""
    least = "At least " if events >= COUNTED_MAX else ""
    return f"{least}{count_of(events, 'acknowledged event')} refused by Postgres wait for somebody"


def _spool_fills(condition: Condition) -> str:
    gauges, bounds = condition.gauges, condition.bounds
    if gauges is None or not bounds.has_spool:
        return ""
    if gauges.spool_bytes > _HALF * bounds.spool_bytes:
        return "The spool is half full"
    # Free bytes are known from the first look at the disk on.
    is_low = gauges.spool_free_bytes < 2 * bounds.spool_free_bytes
    return "The spool's disk is nearly full" if is_low else ""


def _spool_stuck(condition: Condition) -> str:
    gauges = condition.gauges
    is_so = gauges and gauges.spool_oldest_s > _STUCK_S and gauges.is_postgres_up
    return "Events wait in the spool although Postgres is up" if is_so else ""


def _queue_fills(condition: Condition) -> str:
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


def _slow(condition: Condition) -> str:
    is_so = condition.lately.counts.histograms["wait_s"].quantile(0.99) > _SLOW_S
    return "One event in a hundred waits for more than a second" if is_so else ""


def _overworked(condition: Condition) -> str:
    is_so = condition.lately.counts.histograms["loop_lag_s"].quantile(0.9) > _LATE_S
    return "The event loop is late by more than 0.1 s" if is_so else ""


def _connections_full(condition: Condition) -> str:
    gauges, limit = condition.gauges, condition.bounds.connections
    refused = condition.lately.counts["refused_connections"]
    is_so = refused or (gauges and gauges.connections > _FULL * limit)
    return "Nearly all connections are taken" if is_so else ""


def _worker_missing(condition: Condition) -> str:
    missing = [each for each in condition.workers if not each.pid]
    is_so = missing and condition.gauges
    return f"{_workers(missing)} not serve" if is_so else ""


def _workers(workers: Sequence[Worker]) -> str:
    numbers = ", ".join(str(each.number) for each in workers)
    return f"Worker {numbers} does" if len(workers) == 1 else f"Workers {numbers} do"


def _worker_restarts(condition: Condition) -> str:
    restarts = condition.quarter.restarts
    told = "A worker" if restarts == 1 else f"{restarts:,} times a worker"
    return f"{told} ended and was replaced in the last quarter of an hour" if restarts else ""


def _partitions_missing(condition: Condition) -> str:
    is_so = condition.gauges and condition.gauges.partitions_ahead < 1
    return "No partition of events is ready for the time to come" if is_so else ""


def _no_keys(condition: Condition) -> str:
    is_so = condition.gauges and not condition.gauges.keys
    return "The server knows no API key, so it takes no event" if is_so else ""


def _postgres_full(condition: Condition) -> str:
    budget = condition.postgres.connections if condition.postgres else None
    return (
        f"Postgres may run out of connections: {budget}" if budget and not budget.is_enough else ""
    )


def _archive_behind(condition: Condition) -> str:
    bounds, lag_s = condition.bounds, condition.insights.gauges.lag_s
    is_so = lag_s > max(_BEHIND_S, _BEHIND_PASSES * bounds.archive_interval_s)
    if not is_so or not bounds.has_archive:
        return ""
    return f"The archive is {count_of(int(lag_s // 60), 'minute')} behind"


def _retention_waits(condition: Condition) -> str:
    is_so = condition.gauges and condition.gauges.is_retention_waiting
    return "Events wait that are to go" if is_so else ""


def _insights_restarts(condition: Condition) -> str:
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


_RULES: Final = (
    _Rule(
        Kind.NO_WORKER,
        Grade.CRITICAL,
        _no_worker,
        "Clients wait, or can't connect. They may send again what was not acknowledged.",
        "Look at its log. What it acknowledged is in Postgres or in its spool.",
        "workers",
    ),
    _Rule(
        Kind.TAKES_NOTHING,
        Grade.CRITICAL,
        _takes_nothing,
        "Clients get a 503 and are to try again; what they don't send again is lost.",
        "Bring Postgres back, or give the spool room (spool.bytes_max, or space on its disk).",
        "spool",
    ),
    _Rule(
        Kind.REFUSES_EVENTS,
        Grade.CRITICAL,
        _refuses_events,
        "Clients are to try again; what they don't send again is lost.",
        "The codes of what was refused tell why: overloaded is a full queue or spool.",
        "refused",
    ),
    _Rule(
        Kind.EVENTS_DAMAGED,
        Grade.CRITICAL,
        _events_damaged,
        "Their clients were told that they are safe, and they are not in Postgres.",
        "Replace the disk. nonito spool status shows which; what is left is kept as *.damaged.",
        "spool",
    ),
    _Rule(
        Kind.EARLY_ACKS_LOST,
        Grade.CRITICAL,
        _early_acks_lost,
        "Nobody was told: their clients had asked for an answer before the event is durable.",
        "The log has their codes. Clients that can't lose events don't send Prefer: respond-async.",
        "refused",
    ),
    _Rule(
        Kind.NOT_DURABLE,
        Grade.CRITICAL,
        _not_durable,
        "Events that were acknowledged can be lost when Postgres's machine fails.",
        "ALTER SYSTEM SET … = on for each of them, then SELECT pg_reload_conf().",
        "postgres",
    ),
    _Rule(
        Kind.POSTGRES_AWAY,
        Grade.WARNING,
        _postgres_away,
        "Events are still taken, and kept on disk until it is back: clients get a 202.",
        "/readyz and the log have the reason. Nothing is lost while the spool has room.",
        "postgres",
    ),
    _Rule(
        Kind.ROWS_REFUSED,
        Grade.WARNING,
        _rows_refused,
        "Other events are stored. Clients are told of those whose data is bad; the rest waits in"
        " the spool, and is rejected if Postgres goes on refusing it.",
        "/readyz has the SQLSTATE and the constraint: a trigger, a CHECK, no room, or a"
        " permission.",
        "postgres",
    ),
    _Rule(
        Kind.DEAD_LETTERS,
        Grade.WARNING,
        _dead_letters,
        "Each is kept with the reason until it is stored or dropped; no answer counts it so far.",
        "nonito rejected list, then retry or drop.",
        "rejected",
    ),
    _Rule(
        Kind.SPOOL_FILLS,
        Grade.WARNING,
        _spool_fills,
        "Events are still taken, and kept on disk, as long as there is room.",
        "When it is full events get a 503: bring Postgres back, or give the spool room.",
        "spool",
    ),
    _Rule(
        Kind.SPOOL_STUCK,
        Grade.WARNING,
        _spool_stuck,
        "New events are stored; those that wait are safe on disk, and in no answer yet.",
        "The log has the reason, such as a lock, or a rule that neither takes nor refuses them.",
        "spool",
    ),
    _Rule(
        Kind.QUEUE_FILLS,
        Grade.WARNING,
        _queue_fills,
        "Answers take longer. When it is full events go to the spool, and without one get a 503.",
        "Postgres takes less than arrives: look at the time of its commits and at its locks.",
        "queue",
    ),
    _Rule(
        Kind.SLOW,
        Grade.WARNING,
        _slow,
        "Events are taken and stored, later than they could be.",
        "If commits are as slow, it is Postgres; if the event loop is as late, the CPU.",
        "latency",
    ),
    _Rule(
        Kind.OVERWORKED,
        Grade.WARNING,
        _overworked,
        "Every answer takes as much longer.",
        "Too little CPU, or too much to do: raise server.workers, or start another server beside"
        " it.",
        "latency",
    ),
    _Rule(
        Kind.CONNECTIONS_FULL,
        Grade.WARNING,
        _connections_full,
        "Connections past the limit are closed at once: those clients can't send.",
        "Raise limits.connections_max (and ulimit -n), or find who holds so many.",
        "queue",
    ),
    _Rule(
        Kind.WORKER_MISSING,
        Grade.WARNING,
        _worker_missing,
        "The other workers take its clients.",
        "It is started again by itself. If it stays so, the log says how it ended.",
        "workers",
    ),
    _Rule(
        Kind.WORKER_RESTARTS,
        Grade.WARNING,
        _worker_restarts,
        "Its clients lost their connections; what it had acknowledged is safe.",
        "The log says how: killed for want of memory, or as its event loop was stuck (with its"
        " stacks).",
        "workers",
    ),
    _Rule(
        Kind.PARTITIONS_MISSING,
        Grade.WARNING,
        _partitions_missing,
        "Events are still stored.",
        "The log says what is in the way. Until it is mended events go to events_default.",
        "partitions",
    ),
    _Rule(
        Kind.NO_KEYS,
        Grade.WARNING,
        _no_keys,
        "Whoever sends an event gets a 401.",
        "nonito keys create --app NAME",
        "queue",
    ),
    _Rule(
        Kind.OVER_LIMIT,
        Grade.WARNING,
        lambda condition: overs.words(condition.overs),
        "Its clients are to send again later; what they don't send again is lost. All others send"
        " as before.",
        "Raise it with nonito apps set or nonito keys set (none takes it away), or on the app's"
        " page of limits; or have its clients send less.",
        "refused",
    ),
    _Rule(
        Kind.POSTGRES_FULL,
        Grade.WARNING,
        _postgres_full,
        "While there is none left, events are taken and kept on disk.",
        "nonito check says how many the server needs, and what others use.",
        "postgres",
    ),
    _Rule(
        Kind.ARCHIVE_BEHIND,
        Grade.WARNING,
        _archive_behind,
        "Every answer counts all events; what is not in the archive yet is read from Postgres,"
        " which takes longer.",
        "nonito archive status says what keeps it behind: an open transaction, or its disk.",
        "archive",
    ),
    _Rule(
        Kind.RETENTION_WAITS,
        Grade.WARNING,
        _retention_waits,
        "Events are stored and answered as before; what is older than it is kept is there yet.",
        "nonito retention says what for: a long question or a dump, the archive, or a permission.",
        "retention",
    ),
    _Rule(
        Kind.INSIGHTS_RESTARTS,
        Grade.WARNING,
        _insights_restarts,
        "Events are taken as before; whoever was asking then has to ask again.",
        "The log says how it ended: it is the first to go where memory is short.",
        "workers",
    ),
)
