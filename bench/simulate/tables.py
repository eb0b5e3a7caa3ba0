"""The tables of the simulated Postgres, and transactions on them as READ COMMITTED has them.

A row that another transaction has inserted and not committed is waited for, as an index waits. What
a transaction did is in the tables at its commit, all of it, or never.
"""

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.events.fields import FIELDS
from ingest.store.idempotency import KEPT, USES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EventKey = tuple[int, bytes]
"""App and id."""
KeyOfClient = tuple[int, bytes]
"""App and what stands for an Idempotency-Key."""

_HEAD_BYTES: Final = 19
_TRAILER: Final = b"\xff\xff"
_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 in Unix microseconds."""
_KEPT_US: Final = int(KEPT.total_seconds() * 1e6)
_FIELDS: Final = tuple(field.name for field in FIELDS)
_count: Final = struct.Struct("!h").unpack_from
_size: Final = struct.Struct("!i").unpack_from
_time: Final = struct.Struct("!q").unpack


class Row(NamedTuple):
    """A row of `events`."""

    app_id: int
    id: bytes
    name: str
    params: str
    created_us: int
    """Unix microseconds."""
    timestamp_us: int | None
    key: bytes | None

    @property
    def primary_key(self) -> EventKey:
        """By what it is unique."""
        return self.app_id, self.id


class RejectedRow(NamedTuple):
    """A row of `rejected_events`."""

    id: str
    params: str
    at_s: float
    """When it came there, by the world's clock."""
    columns: dict[str, str | None]
    """All of them, as texts."""

    @property
    def timestamp(self) -> str | None:
        """When it happened, if its client has said so."""
        return self.columns["timestamp"]

    @property
    def key(self) -> str | None:
        """What stands for its Idempotency-Key, if it has one."""
        return self.columns["idempotency_key"]


class Use(NamedTuple):
    """An event that an Idempotency-Key stands for."""

    id: bytes
    created_us: int


def read_document(document: bytes) -> list[Row]:
    """Return the rows of a binary COPY document; raise ValueError for what is none."""
    rows: list[Row] = []
    at = _HEAD_BYTES
    while document[at : at + 2] != _TRAILER:
        if _count(document, at)[0] != len(_FIELDS):
            raise ValueError(f"{_count(document, at)[0]} fields in a row")
        at += 2
        values: list[bytes | None] = []
        for _ in _FIELDS:
            (size,) = _size(document, at)
            at += 4
            values.append(None if size < 0 else document[at : at + size])
            at += max(size, 0)
        rows.append(_row(values))
    return rows


def _row(values: list[bytes | None]) -> Row:
    app_id, id_, name, params, created, timestamp, key = values
    return Row(
        int.from_bytes(app_id or b"", "big", signed=True),
        id_ or b"",
        (name or b"").decode(),
        (params or b"")[1:].decode(),
        _moment(created) or 0,
        _moment(timestamp),
        key,
    )


def _moment(raw: bytes | None) -> int | None:
    return None if raw is None else _time(raw)[0] + _EPOCH_US


class Tables:
    """What is committed, and which transactions go on."""

    def __init__(self) -> None:
        self.events: dict[EventKey, Row] = {}
        self.uses: dict[KeyOfClient, tuple[Use, ...]] = {}
        """The latest first."""
        self.rejected: dict[EventKey, RejectedRow] = {}
        self.open: dict[Transaction, None] = {}


class Transaction:
    """What one has done, seen by nobody else."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.events: dict[EventKey, Row] = {}
        self.uses: dict[KeyOfClient, tuple[Use, ...]] = {}
        self.rejected: dict[EventKey, RejectedRow] = {}
        self.on_end: list[Callable[[], None]] = []
        """Who waits for its end."""
        self.waits_for: Transaction | None = None
        tables.open[self] = None

    def has(self, key: EventKey) -> bool:
        """Whether it sees an event."""
        return key in self.events or key in self._tables.events

    def find(self, key: EventKey) -> Row | None:
        """Return an event as it sees it."""
        return self.events.get(key) or self._tables.events.get(key)

    def who_inserts(self, key: EventKey) -> "Transaction | None":
        """Return which other transaction has inserted an event, and is not over."""
        return next((each for each in self._others() if key in each.events), None)

    def who_records(self, key: KeyOfClient) -> "Transaction | None":
        """Return which other transaction has recorded a key, and is not over."""
        return next((each for each in self._others() if key in each.uses), None)

    def uses_of(self, key: KeyOfClient) -> tuple[Use, ...]:
        """Return which events a key stands for, as it sees them."""
        return self.uses.get(key) or self._tables.uses.get(key, ())

    def record(self, key: KeyOfClient, use: Use) -> None:
        """Have a key stand for an event, unless it stands for one of that day already."""
        before = self.uses_of(key)
        if find_use(before, use.created_us) is None:
            uses = sorted((*before, use), key=lambda each: -each.created_us)
            self.uses[key] = tuple(uses[:USES_MAX])

    def commit(self) -> None:
        """Have all of it in the tables."""
        tables = self._tables
        tables.events |= self.events
        tables.uses |= self.uses
        for key, row in self.rejected.items():
            tables.rejected.setdefault(key, row)
        self._end()

    def roll_back(self) -> None:
        """Have nothing of it."""
        self._end()

    def _end(self) -> None:
        self._tables.open.pop(self, None)
        waiting, self.on_end = self.on_end, []
        for call in waiting:
            call()

    def _others(self) -> "Iterator[Transaction]":
        return (each for each in self._tables.open if each is not self)


def find_use(uses: tuple[Use, ...], created_us: int) -> Use | None:
    """Return for which event a key stands at a time: within a day of its own."""
    return next((each for each in uses if abs(each.created_us - created_us) < _KEPT_US), None)
