"""What the simulated Postgres does with each statement that the product sends.

A statement is a generator: it yields how long it takes, in seconds, or a transaction that it has to
wait for, and returns its command tag and rows. Statements are known by the words that only they
have; one that is not known is a model that has fallen behind, and stops the simulation.
"""

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from bench.simulate.tables import EventKey, Row, Transaction, Use, find_use, read_document
from ingest.store.failures import DROPPED, NO_DATA
from ingest.store.partition_map import DAY_MS

if TYPE_CHECKING:
    from bench.simulate.session import Session

GUARDED: Final = "guarded"
"""Rows of this name are those that rules of operators are about."""
POISON: Final = "poison"
"""Rows of this name are refused by an index's expression."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BETWEEN: Final = re.compile(r"events\.id BETWEEN '([0-9a-f-]{36})' AND '([0-9a-f-]{36})'")
_ASKED: Final = re.compile(r"\((\d+), (-?\d+), '([0-9a-f-]{36})'::uuid\)")
_TURNS_MAX: Final = 1_000

Fields = list[bytes | None]
Wait = float | Transaction


class Reply(NamedTuple):
    """What a statement comes to."""

    tag: str
    rows: Sequence[Fields] = ()


Work = Generator[Wait, None, Reply]


class PostgresError(Exception):
    """What Postgres says of a statement."""

    def __init__(self, sqlstate: str, text: str, *, line: int = 0, constraint: str = "") -> None:
        super().__init__(text)
        self.sqlstate = sqlstate
        self.text = text
        self.context = f"COPY events, line {line}, column event_params" if line else ""
        self.constraint = constraint
        self.severity = "ERROR"


@dataclass
class Staged:
    """A row of the temporary table."""

    at: int
    row: Row
    id: bytes
    event_id: bytes | None = None
    is_retry: bool | None = None

    @property
    def key(self) -> EventKey:
        """Which event it is."""
        return self.row.app_id, self.id


def copy(session: "Session", document: bytes) -> Work:
    """COPY into `events`."""
    rows = read_document(document)
    yield from session.begin_statement(rows)
    inserted = 0
    for line, row in enumerate(rows, 1):
        inserted += yield from insert(session, row, line)
    return Reply(f"COPY {inserted}")


def insert(session: "Session", row: Row, line: int = 0) -> Generator[Wait, None, bool]:
    """Insert a row; return whether it is there now by that.

    With a `line` it is a COPY's, and a row that is there already is an error.
    """
    transaction = session.transaction
    if not (yield from session.judge(row, line)):
        return False
    while (other := transaction.who_inserts(row.primary_key)) is not None:
        yield other
    if transaction.has(row.primary_key):
        if line:
            raise PostgresError("23505", "duplicate key", line=line, constraint="events_pkey")
        return False
    if row.name == POISON:
        raise PostgresError("22P02", 'invalid input syntax for type integer: "yes"', line=line)
    transaction.events[row.primary_key] = row
    return True


def stage(session: "Session", document: bytes) -> Work:
    """Make the temporary table, and COPY into it."""
    rows = read_document(document)
    yield from session.begin_statement(())
    session.staging = [Staged(at, row, row.id) for at, row in enumerate(rows)]
    session.findings = []
    return Reply(f"COPY {len(rows)}")


def reserve_and_look(session: "Session", _: str) -> Work:
    """Find out which event each staged row with a key is; then do what `look` does."""
    yield from reserve(session, session.staging)
    return _days(session)


def look(session: "Session", _: str) -> Work:
    """Return the days of the staged rows."""
    yield session.cluster.statement_s()
    return _days(session)


def _days(session: "Session") -> Reply:
    days = {int.from_bytes(each.id[:6], "big") // DAY_MS for each in session.staging}
    return Reply(f"SELECT {len(days)}", [[b"%d" % day] for day in sorted(days)])


def reserve(session: "Session", staged: Iterable[Staged]) -> Generator[Wait, None, None]:
    """Record the keys that stand for nothing yet, and find what each stands for."""
    rows = list(staged)
    for _ in range(_TURNS_MAX):
        unknown = [each for each in rows if each.row.key is not None and each.event_id is None]
        if not unknown:
            break
        yield from _record(session, unknown)
        for each in unknown:
            use = find_use(session.transaction.uses_of(_key_of(each)), each.row.created_us)
            each.event_id = use.id if use else None
    for each in rows:
        if each.event_id not in (None, each.id):
            each.id, each.is_retry = each.event_id or b"", True


def _record(session: "Session", unknown: Sequence[Staged]) -> Generator[Wait, None, None]:
    """Of each key's rows have the first one's event be the key's."""
    firsts: dict[tuple[int, bytes], Staged] = {}
    for each in sorted(unknown, key=lambda one: (_key_of(one), one.row.created_us, one.id)):
        firsts.setdefault(_key_of(each), each)
    for key, each in firsts.items():
        while (other := session.transaction.who_records(key)) is not None:
            yield other
        session.transaction.record(key, Use(each.id, each.row.created_us))


def _key_of(staged: Staged) -> tuple[int, bytes]:
    return staged.row.app_id, staged.row.key or b""


def insert_staged(session: "Session", _: str) -> Work:
    """INSERT what is staged and not there."""
    yield from session.begin_statement([each.row for each in session.staging])
    inserted = 0
    for each in sorted(session.staging, key=_order_of_insert):
        inserted += yield from insert(session, each.row._replace(id=each.id))
    return Reply(f"INSERT 0 {inserted}")


def _order_of_insert(staged: Staged) -> tuple[EventKey, bool, int]:
    return staged.key, bool(staged.is_retry), staged.row.created_us


def count_missing(session: "Session", statement: str) -> Work:
    """Count the staged rows that are not there, where it is looked for them."""
    yield session.cluster.statement_s()
    ranges = _ranges_of(statement)
    missing = sum(
        not (_is_within(each.id, ranges) and session.transaction.has(each.key))
        for each in session.staging
    )
    return Reply("SELECT 1", [[b"%d" % missing]])


def ask(session: "Session", statement: str) -> Work:
    """Return the rows that were there before, as the merge wants to know them."""
    yield session.cluster.statement_s()
    ranges, transaction = _ranges_of(statement), session.transaction
    found = [
        _earlier(each, row)
        for each in session.staging
        if _is_within(each.id, ranges)
        and each.key not in transaction.events
        and (row := transaction.find(each.key)) is not None
    ]
    return Reply(f"SELECT {len(found)}", found)


def _earlier(staged: Staged, row: Row) -> Fields:
    known_by = staged.row.key if staged.row.key is not None else staged.id
    return [
        b"%d" % row.app_id,
        _uuid(known_by),
        b"f" if staged.row.key is None else b"t",
        row.params.encode(),
        b"%d" % row.app_id,
        _uuid(row.id),
        row.name.encode(),
        _time_text(row.created_us),
        None if row.timestamp_us is None else _time_text(row.timestamp_us),
        None if row.key is None else _uuid(row.key),
    ]


def _uuid(raw: bytes) -> bytes:
    return str(UUID(bytes=raw)).encode()


def _time_text(unix_us: int) -> bytes:
    moment = _EPOCH + timedelta(microseconds=unix_us)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}".encode()


def _ranges_of(statement: str) -> list[tuple[bytes, bytes]] | None:
    """Return between which ids a statement looks; None for wherever they are."""
    if "events.id BETWEEN" not in statement and "(false)" not in statement:
        return None
    return [(UUID(low).bytes, UUID(high).bytes) for low, high in _BETWEEN.findall(statement)]


def _is_within(id_: bytes, ranges: list[tuple[bytes, bytes]] | None) -> bool:
    return ranges is None or any(low <= id_ <= high for low, high in ranges)


def sift(session: "Session", _: str) -> Work:
    """Insert what is staged row by row, in the order of ids."""
    return _sift(session, sorted(session.staging, key=_order_of_sift), has_keys=False)


def sift_with_keys(session: "Session", _: str) -> Work:
    """Insert staged rows one by one, those with idempotency keys first, each key reserved."""
    return _sift(session, sorted(session.staging, key=_order_by_key), has_keys=True)


def _order_of_sift(staged: Staged) -> tuple[EventKey, int]:
    return staged.key, staged.row.created_us


def _order_by_key(staged: Staged) -> tuple[bool, int, bytes, int]:
    key = staged.row.key
    return key is None, staged.row.app_id, staged.id if key is None else key, staged.row.created_us


def _sift(session: "Session", staged: Sequence[Staged], *, has_keys: bool) -> Work:
    yield from session.begin_statement([each.row for each in staged])
    for each in staged:
        uses = dict(session.transaction.uses)
        error: PostgresError | None = None
        try:
            if has_keys:
                yield from reserve(session, [each])
            if (yield from insert(session, each.row._replace(id=each.id))):
                continue
            if not session.transaction.has(each.key):
                raise PostgresError(NO_DATA, DROPPED)
        except PostgresError as caught:
            if caught.sqlstate == "57014":
                raise
            session.transaction.uses = uses
            error = None if session.transaction.has(each.key) else caught
        session.findings.append(_finding(each.at, error))
    return Reply("DO")


def _finding(at: int, error: PostgresError | None) -> Fields:
    if error is None:
        return [b"%d" % at, *[None] * 6]
    texts = [error.sqlstate, error.text, "", "", "", error.constraint]
    return [b"%d" % at, *(text.encode() for text in texts)]


def tell_findings(session: "Session", _: str) -> Work:
    """Return what the sift found."""
    yield session.cluster.statement_s()
    return Reply(f"SELECT {len(session.findings)}", session.findings)


def tell_missing(session: "Session", statement: str) -> Work:
    """Return which of the events that are asked for are not there."""
    yield session.cluster.statement_s()
    events, ranges = session.cluster.tables.events, _ranges_of(statement)
    missing = [
        [at.encode()]
        for at, app_id, id_ in _ASKED.findall(statement)
        if (int(app_id), UUID(id_).bytes) not in events or not _is_within(UUID(id_).bytes, ranges)
    ]
    return Reply(f"SELECT {len(missing)}", missing)


def tell_database(session: "Session", _: str) -> Work:
    """Return the database's id."""
    yield session.cluster.statement_s()
    return Reply("SELECT 1", [[str(session.cluster.database_id).encode()]])


def commit(session: "Session", _: str) -> Work:
    """COMMIT."""
    if session.is_failed:
        session.roll_back()
        return Reply("ROLLBACK")
    yield session.cluster.commit_s()
    session.commit()
    return Reply("COMMIT")


def roll_back(session: "Session", _: str) -> Work:
    """ROLLBACK."""
    yield session.cluster.statement_s()
    session.roll_back()
    return Reply("ROLLBACK")


Statement = Callable[["Session", str], Work]
_KNOWN: Final[tuple[tuple[str, str, Statement], ...]] = (
    ("COMMIT", "COMMIT", commit),
    ("ROLLBACK", "ROLLBACK", roll_back),
    ("SELECT id FROM nonito_database", "look at the database", tell_database),
    ("DO $sift$", "sift", sift),
    ("INSERT INTO events", "insert what is staged", insert_staged),
    ("SELECT * FROM nonito_findings", "tell what the sift found", tell_findings),
    ("SELECT at FROM (VALUES", "look for what was dropped", tell_missing),
    ("SELECT staged_app_id", "look at what was there", ask),
    ("SELECT count(*) FROM nonito_staging", "count what is missing", count_missing),
    ("SELECT DISTINCT ('x'", "look at days", look),
)


def known(text: str) -> tuple[str, Statement]:
    """Return what a statement is called here, and what it does; raise LookupError."""
    words = " ".join(text.split())
    if "FOR turn IN 1..1000 LOOP" in words:
        is_sift = "DO $sift$" in words
        return ("sift with keys", sift_with_keys) if is_sift else ("reserve keys", reserve_and_look)
    for start, name, statement in _KNOWN:
        if words.startswith(start):
            return name, statement
    raise LookupError(f"the model knows no such statement: {words[:200]}")
