"""What can be wrong with a server: each in words, with what it means for clients and what to do.

A closed set, found by figures alone. What `ops/alerts.yml` tells of as well has the same name there
and the same words for what to do; a test holds the two together.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from ingest.dashboard import overs, signs
from ingest.dashboard.condition import Condition


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
    NODES_AWAY = "NonitoNodesAway"
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


_RULES: Final = (
    _Rule(
        Kind.NO_WORKER,
        Grade.CRITICAL,
        signs.no_worker,
        "Clients wait, or can't connect. They may send again what was not acknowledged.",
        "Look at its log. What it acknowledged is in Postgres or in its spool.",
        "workers",
    ),
    _Rule(
        Kind.TAKES_NOTHING,
        Grade.CRITICAL,
        signs.takes_nothing,
        "Clients get a 503 and are to try again; what they don't send again is lost.",
        "Bring Postgres back, or give the spool room (spool.bytes_max, or space on its disk).",
        "spool",
    ),
    _Rule(
        Kind.REFUSES_EVENTS,
        Grade.CRITICAL,
        signs.refuses_events,
        "Clients are to try again; what they don't send again is lost.",
        "The codes of what was refused tell why: overloaded is a full queue or spool.",
        "refused",
    ),
    _Rule(
        Kind.EVENTS_DAMAGED,
        Grade.CRITICAL,
        signs.events_damaged,
        "Their clients were told that they are safe, and they are not in Postgres.",
        "Replace the disk. nonito spool status shows which; what is left is kept as *.damaged.",
        "spool",
    ),
    _Rule(
        Kind.EARLY_ACKS_LOST,
        Grade.CRITICAL,
        signs.early_acks_lost,
        "Nobody was told: their clients had asked for an answer before the event is durable.",
        "The log has their codes. Clients that can't lose events don't send Prefer: respond-async.",
        "refused",
    ),
    _Rule(
        Kind.NOT_DURABLE,
        Grade.CRITICAL,
        signs.not_durable,
        "Events that were acknowledged can be lost when Postgres's machine fails.",
        "ALTER SYSTEM SET … = on for each of them, then SELECT pg_reload_conf().",
        "postgres",
    ),
    _Rule(
        Kind.POSTGRES_AWAY,
        Grade.WARNING,
        signs.postgres_away,
        "Events are still taken, and kept on disk until it is back: clients get a 202.",
        "/readyz and the log have the reason. Nothing is lost while the spool has room.",
        "postgres",
    ),
    _Rule(
        Kind.ROWS_REFUSED,
        Grade.WARNING,
        signs.rows_refused,
        "Other events are stored. Clients are told of those whose data is bad; the rest waits in"
        " the spool, and is rejected if Postgres goes on refusing it.",
        "/readyz has the SQLSTATE and the constraint: a trigger, a CHECK, no room, or a"
        " permission.",
        "postgres",
    ),
    _Rule(
        Kind.NODES_AWAY,
        Grade.WARNING,
        signs.nodes_away,
        "Events of the apps that they hold go to the spool until they are back, as long as it has"
        " room; all others' are stored. Questions that need them wait.",
        "Bring them back: the log names them. Their events follow by themselves.",
        "postgres",
    ),
    _Rule(
        Kind.DEAD_LETTERS,
        Grade.WARNING,
        signs.dead_letters,
        "Each is kept with the reason until it is stored or dropped; no answer counts it so far.",
        "nonito rejected list, then retry or drop.",
        "rejected",
    ),
    _Rule(
        Kind.SPOOL_FILLS,
        Grade.WARNING,
        signs.spool_fills,
        "Events are still taken, and kept on disk, as long as there is room.",
        "When it is full events get a 503: bring Postgres back, or give the spool room.",
        "spool",
    ),
    _Rule(
        Kind.SPOOL_STUCK,
        Grade.WARNING,
        signs.spool_stuck,
        "New events are stored; those that wait are safe on disk, and in no answer yet.",
        "The log has the reason, such as a lock, or a rule that neither takes nor refuses them.",
        "spool",
    ),
    _Rule(
        Kind.QUEUE_FILLS,
        Grade.WARNING,
        signs.queue_fills,
        "Answers take longer. When it is full events go to the spool, and without one get a 503.",
        "Postgres takes less than arrives: look at the time of its commits and at its locks.",
        "queue",
    ),
    _Rule(
        Kind.SLOW,
        Grade.WARNING,
        signs.slow,
        "Events are taken and stored, later than they could be.",
        "If commits are as slow, it is Postgres; if the event loop is as late, the CPU.",
        "latency",
    ),
    _Rule(
        Kind.OVERWORKED,
        Grade.WARNING,
        signs.overworked,
        "Every answer takes as much longer.",
        "Too little CPU, or too much to do: raise server.workers, or start another server beside"
        " it.",
        "latency",
    ),
    _Rule(
        Kind.CONNECTIONS_FULL,
        Grade.WARNING,
        signs.connections_full,
        "Connections past the limit are closed at once: those clients can't send.",
        "Raise limits.connections_max (and ulimit -n), or find who holds so many.",
        "queue",
    ),
    _Rule(
        Kind.WORKER_MISSING,
        Grade.WARNING,
        signs.worker_missing,
        "The other workers take its clients.",
        "It is started again by itself. If it stays so, the log says how it ended.",
        "workers",
    ),
    _Rule(
        Kind.WORKER_RESTARTS,
        Grade.WARNING,
        signs.worker_restarts,
        "Its clients lost their connections; what it had acknowledged is safe.",
        "The log says how: killed for want of memory, or as its event loop was stuck (with its"
        " stacks).",
        "workers",
    ),
    _Rule(
        Kind.PARTITIONS_MISSING,
        Grade.WARNING,
        signs.partitions_missing,
        "Events are still stored.",
        "The log says what is in the way. Until it is mended events go to events_default.",
        "partitions",
    ),
    _Rule(
        Kind.NO_KEYS,
        Grade.WARNING,
        signs.no_keys,
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
        signs.postgres_full,
        "While there is none left, events are taken and kept on disk.",
        "nonito check says how many the server needs, and what others use.",
        "postgres",
    ),
    _Rule(
        Kind.ARCHIVE_BEHIND,
        Grade.WARNING,
        signs.archive_behind,
        "Every answer counts all events; what is not in the archive yet is read from Postgres,"
        " which takes longer.",
        "nonito archive status says what keeps it behind: an open transaction, or its disk.",
        "archive",
    ),
    _Rule(
        Kind.RETENTION_WAITS,
        Grade.WARNING,
        signs.retention_waits,
        "Events are stored and answered as before; what is older than it is kept is there yet.",
        "nonito retention says what for: a long question or a dump, the archive, or a permission.",
        "retention",
    ),
    _Rule(
        Kind.INSIGHTS_RESTARTS,
        Grade.WARNING,
        signs.insights_restarts,
        "Events are taken as before; whoever was asking then has to ask again.",
        "The log says how it ended: it is the first to go where memory is short.",
        "workers",
    ),
)
