"""The statements that the product sends through asyncpg's own protocol: short work."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from bench.simulate.statements import Reply, Work
from bench.simulate.tables import RejectedRow
from ingest.store import citus

if TYPE_CHECKING:
    from bench.simulate.session import Session

_COLUMNS: Final = (
    "app_id", "id", "event_name", "event_params", "created_at", "timestamp", "idempotency_key",
)  # fmt: skip

ShortWork = Callable[["Session", Sequence[Any]], Work]
Read = Callable[[Reply], Any]


def known(text: str) -> tuple[str, ShortWork, Read]:
    """Return what a statement is called, what it does, and how it is read; raise LookupError."""
    for start, name, work, read in _KNOWN:
        if text.startswith(start):
            return name, work, read
    raise LookupError(f"the model knows no such statement: {text[:200]}")


def _tell_pid(session: "Session", _: Sequence[Any]) -> Work:
    yield session.cluster.statement_s()
    pid = session.pid + session.cluster.is_pooled
    return Reply("SELECT 1", [[b"%d" % pid]])


def _tell_settings(session: "Session", _: Sequence[Any]) -> Work:
    yield session.cluster.statement_s()
    return Reply("SELECT 0")


def _deny_citus(session: "Session", _: Sequence[Any]) -> Work:
    """Have no extension: each database is one Postgres's."""
    yield session.cluster.statement_s()
    return Reply("SELECT 1", [[b"f"]])


def _tell_database(session: "Session", _: Sequence[Any]) -> Work:
    yield session.cluster.statement_s()
    return Reply("SELECT 1", [[str(session.cluster.database_id).encode()]])


def _keep_rejected(session: "Session", arguments: Iterable[Sequence[str | None]]) -> Work:
    """INSERT INTO rejected_events … ON CONFLICT DO NOTHING."""
    yield from session.begin_statement(())
    cluster, transaction = session.cluster, session.transaction
    for row in arguments:
        columns = dict(zip(_COLUMNS, row, strict=False))
        key = int(columns["app_id"] or 0), UUID(columns["id"]).bytes
        if key not in cluster.tables.rejected:
            transaction.rejected[key] = RejectedRow(
                columns["id"] or "", columns["event_params"] or "", cluster.world.now_s, columns
            )
    return Reply("INSERT 0 1")


def _value(reply: Reply) -> int:
    return int(reply.rows[0][0] or b"")


def _is_so(reply: Reply) -> bool:
    return reply.rows[0][0] == b"t"


def _id(reply: Reply) -> UUID:
    return UUID((reply.rows[0][0] or b"").decode())


def _rows(reply: Reply) -> Sequence[Any]:
    return reply.rows


_KNOWN: Final[tuple[tuple[str, str, ShortWork, Read], ...]] = (
    ("SELECT pg_backend_pid()", "tell its process", _tell_pid, _value),
    ("SELECT name FROM pg_settings", "tell what is off", _tell_settings, _rows),
    (citus.IS_THERE, "tell whether it is Citus", _deny_citus, _is_so),
    ("SELECT id FROM nonito_database", "tell its database", _tell_database, _id),
    ("INSERT INTO rejected_events", "keep what was refused", _keep_rejected, _rows),
)
