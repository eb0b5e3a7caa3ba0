"""What becomes of an accepted event: committed, spooled, a duplicate, or refused with a reason."""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple, Protocol

import structlog

from ingest.errors import Refusal

log = structlog.get_logger(__name__)


class Ack(Enum):
    """A durable answer."""

    COMMITTED = "committed"
    """It is in Postgres."""
    SPOOLED = "spooled"
    """It is on this node's disk, and will be in Postgres exactly once."""
    UNCHECKED = "unchecked"
    """It is on this node's disk, and may have been sent before, which only Postgres knows: then the
    first one stays, and nothing of this one will be in Postgres."""


COMMITTED: Final = Ack.COMMITTED
"""For the hot path: to look it up in its Enum takes 0.07 µs."""


class Duplicate(NamedTuple):
    """The outcome of an event that its client had sent before: it is stored once."""

    ack: Ack
    """Where the first one is. If it is SPOOLED, another one before it may be stored."""
    row: bytes
    """The first one as JSON, as an answer has it."""
    is_different: bool = False
    """Whether the one that was sent now is known to say something else."""


Outcome = Ack | Duplicate | Refusal


class Waiter(Protocol):
    """Who waits for the outcome of an event, or of several, and is told exactly once of each."""

    def settle(self, outcome: Outcome, row: bytes = b"", /) -> None:
        """Answer the sender; must not block. `row` is the event's, unless the outcome is an Ack."""


class BatchWaiter(Waiter, Protocol):
    """Who waits for the outcomes of many events."""

    def of(self, index: int, /) -> Waiter:
        """Return who waits for one of them alone."""


class Unchecked:
    """Who waits for an event that may have been sent before: spooled it is not looked up."""

    __slots__ = ("_waiter",)

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter

    def settle(self, outcome: Outcome, row: bytes = b"") -> None:
        """Pass the outcome on."""
        self._waiter.settle(Ack.UNCHECKED if outcome is Ack.SPOOLED else outcome, row)


def settle(waiters: Iterable[Waiter], outcome: Outcome, row: bytes = b"") -> None:
    """Tell each what became of its event; `row` is the event's, unless the outcome is an Ack."""
    for waiter in waiters:
        try:
            waiter.settle(outcome, row)
        except Exception:
            # uvloop raises on a transport that is gone; the others must have their answers.
            log.exception("answering a client failed")
