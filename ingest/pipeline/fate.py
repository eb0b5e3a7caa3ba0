"""What becomes of an accepted event: committed, spooled, a duplicate, or refused with a reason."""

from enum import Enum
from typing import Final, NamedTuple, Protocol

from ingest.errors import Refusal


class Ack(Enum):
    """A durable answer, and its HTTP status."""

    COMMITTED = 200
    """It is in Postgres."""
    SPOOLED = 202
    """It is on this node's disk, and will be in Postgres exactly once."""


COMMITTED: Final = Ack.COMMITTED
"""For the hot path: to look it up in its Enum takes 0.07 µs."""


class Duplicate(NamedTuple):
    """The client sent it before: it is stored once, and this is how."""

    ack: Ack
    """Where the first one is."""
    row: bytes
    """The first one as JSON, as an answer has it."""


Fate = Ack | Duplicate | Refusal


class Waiter(Protocol):
    """Who waits for the fate of an event, or of several, and is told exactly once of each."""

    def settle(self, fate: Fate, row: bytes = b"", /) -> None:
        """Answer the sender; must not block. `row` is the event's, unless the fate is an Ack."""
