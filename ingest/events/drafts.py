"""Drafts: the events of a batch that are understood and stamped, and not yet accepted."""

from typing import NamedTuple

from ingest.errors import Refusal


class Draft(NamedTuple):
    """One event that is understood and stamped."""

    row: bytes
    """The event's COPY tuple."""
    stored: bytes
    """What is stored, as JSON; empty if nobody wants it."""
    needs_dedup: bool
    """Whether it takes the dedup queue."""
    is_retryable: bool = False
    """Whether its client gave it an id or a key, so that it may have been sent before."""


_NOTHING = Draft(b"", b"", needs_dedup=False)


class Drafts:
    """Many drafts, by column, with an entry for each event of the document.

    Not an object for each: that costs time when it is made, and again when the batch is answered
    and it has left the caches. Batches of 1,000 took 3.9 µs an event so, and 2.2 by column.
    """

    def __init__(self, *, wants_stored: bool = True) -> None:
        self.rows: list[bytes] = []
        """COPY tuples; empty for an event that is refused."""
        self.stored: list[bytes] = []
        """What is stored, as JSON; empty for a refused event, and no list if nobody wants it."""
        self.dedup: set[int] = set()
        """The indices of those that take the dedup queue."""
        self.retryable: set[int] = set()
        """The indices of those that may have been sent before."""
        self.refusals: dict[int, Refusal] = {}
        """Why events are refused, by index."""
        self.wants_stored = wants_stored
        self._released = 0

    @property
    def count(self) -> int:
        """How many events the document has."""
        return self._released or len(self.rows)

    @property
    def events(self) -> int:
        """How many events are not refused."""
        return self.count - len(self.refusals)

    def release(self) -> None:
        """Let go of the COPY tuples, some MiB, when nobody will ask for them any more."""
        self._released, self.rows = len(self.rows), []

    def add(self, drafted: Draft | Refusal) -> None:
        """Add one event."""
        self.rows.append(b"")
        if self.wants_stored:
            self.stored.append(b"")
        self.replace(len(self.rows) - 1, drafted)

    def replace(self, index: int, drafted: Draft | Refusal) -> None:
        """Put one event in the place of another."""
        if isinstance(drafted, Refusal):
            self.refusals[index] = drafted
            drafted = _NOTHING
        self.rows[index] = drafted.row
        if self.wants_stored:
            self.stored[index] = drafted.stored
        if drafted.needs_dedup:
            self.dedup.add(index)
        if drafted.is_retryable:
            self.retryable.add(index)

    def refuse(self, index: int, refusal: Refusal) -> None:
        """Refuse an event that was a good one."""
        self.dedup.discard(index)
        self.retryable.discard(index)
        self.replace(index, refusal)

    @property
    def plain(self) -> list[bytes]:
        """The rows that take the plain queue."""
        if not self.dedup and not self.refusals:
            return self.rows
        dedup = self.dedup
        return [row for index, row in enumerate(self.rows) if row and index not in dedup]
