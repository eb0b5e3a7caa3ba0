"""The invariants: the audit's checker, shown what the simulated Postgres holds in the end."""

from collections.abc import Iterator
from uuid import UUID

from bench.audit.checker import Checker
from bench.audit.excuses import Excuses
from bench.audit.history import History
from bench.audit.rows import StoredEvent, microseconds
from bench.simulate.cluster import Cluster
from bench.simulate.recorder import MemoryRecorder
from bench.simulate.statements import POISON
from bench.simulate.tables import RejectedRow, Row, Transaction, Use, find_use


def judge(
    history: History, excuses: Excuses, cluster: Cluster, *, told: int
) -> Iterator[tuple[str, str]]:
    """Yield everything that is wrong: an invariant, and how it is broken.

    `told` is how many events the server has said are lost on its disk.
    """
    checker = Checker(history, excuses)
    for row in cluster.tables.events.values():
        checker.take(_stored(row))
    checker.close({each.id: each.params for each in cluster.tables.rejected.values()})
    checker.judge_loss(told)
    for invariant, texts in checker.findings.shown.items():
        for text in texts:
            yield invariant, text
    if cluster.strays:
        yield "nothing-else", f"{cluster.strays} rows came into another database"


def retry_rejected(cluster: Cluster, recorder: MemoryRecorder) -> None:
    """Do what `nonito rejected retry` does: bring to `events` what nothing is against any more."""
    tables = cluster.tables
    for key, rejected in sorted(tables.rejected.items()):
        recorder.aside(rejected.id, int(rejected.at_s * 1e9), rejected.params)
        row = _row(rejected)
        if row.name == POISON:
            continue
        del tables.rejected[key]
        transaction = Transaction(tables)
        if row.key is not None:
            transaction.record((row.app_id, row.key), Use(row.id, row.created_us))
            use = find_use(transaction.uses_of((row.app_id, row.key)), row.created_us)
            row = row._replace(id=use.id) if use else row
        if not transaction.has(row.primary_key):
            transaction.events[row.primary_key] = row
        transaction.commit()


def _row(rejected: RejectedRow) -> Row:
    columns, timestamp, key = rejected.columns, rejected.timestamp, rejected.key
    return Row(
        int(columns["app_id"] or 0),
        UUID(rejected.id).bytes,
        columns["event_name"] or "",
        rejected.params,
        microseconds(columns["created_at"]),
        None if timestamp is None else microseconds(timestamp),
        None if key is None else UUID(key).bytes,
    )


def _stored(row: Row) -> StoredEvent:
    id_ = str(UUID(bytes=row.id))
    return StoredEvent(row.app_id - 1, id_, row.name, row.params, row.created_us, row.timestamp_us)
