"""Gauges: what is so just now, of one process, and of all processes of a server together."""

from collections.abc import Sequence
from typing import Final, NamedTuple

QUEUES: Final = ("plain", "dedup", "apart", "hung")


class Waiting(NamedTuple):
    """What waits in one queue."""

    events: int
    bytes: int


class State(NamedTuple):
    """What is asked of all parts but queues and spool."""

    is_postgres_up: bool
    is_refusing_rows: bool
    nodes_away: int
    """Of Citus."""
    postgres_connections: int
    rejected_events: int
    retention_next_drop_s: float
    is_retention_waiting: bool
    partitions_ahead: int
    keys: int
    connections: int
    requests: int
    """Requests that are being handled."""


class Gauges(NamedTuple):
    """All of them; with the first two the counts balance."""

    queue_events: float
    """In a queue or in a COPY."""
    spool_events: float
    queue_bytes: float
    queue_events_limit: float
    queue_bytes_limit: float
    """Both of each queue."""
    plain_events: float
    plain_bytes: float
    dedup_events: float
    dedup_bytes: float
    apart_events: float
    apart_bytes: float
    hung_events: float
    hung_bytes: float
    """What no writer has taken yet."""
    spool_bytes: float
    spool_free_bytes: float
    spool_oldest_s: float
    spool_has_room: float
    loop_lag_s: float
    is_postgres_up: float
    is_refusing_rows: float
    nodes_away: float
    """Of Citus."""
    postgres_connections: float
    rejected_events: float
    retention_next_drop_s: float
    """When the next partition goes, as a Unix time; 0 for never."""
    is_retention_waiting: float
    partitions_ahead: float
    keys: float
    connections: float
    requests: float

    def waiting(self, queue: str) -> Waiting:
        """Return what waits in one of QUEUES."""
        return Waiting(getattr(self, f"{queue}_events"), getattr(self, f"{queue}_bytes"))


_LEAST: Final = {"is_postgres_up", "spool_has_room", "spool_free_bytes", "keys"}
"""Of these a server has what the process has that has the least."""
_MOST: Final = {
    *("is_refusing_rows", "nodes_away", "spool_bytes", "spool_oldest_s", "loop_lag_s"),
    *("retention_next_drop_s", "is_retention_waiting"),
    *("rejected_events", "partitions_ahead"),  # which one process looks at; others say 0 and -1
}
"""And of these, the most. Of all others it has what its processes have together."""


def merge(gauges: Sequence[Gauges]) -> Gauges:
    """Return those of a server; `gauges` are those of its processes, of one at least."""
    return Gauges(
        *(
            _merge(name, values)
            for name, values in zip(Gauges._fields, zip(*gauges, strict=True), strict=True)
        )
    )


def _merge(name: str, values: Sequence[float]) -> float:
    if name in _LEAST:
        return min(values)
    return max(values) if name in _MOST else sum(values)
