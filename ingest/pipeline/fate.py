"""What becomes of an accepted event: committed, spooled, a duplicate, or refused with a reason."""

from enum import Enum
from typing import NamedTuple, Protocol

from ingest.errors import Refusal


class Ack(Enum):
    """A durable answer, and its HTTP status."""

    COMMITTED = 200
    """It is in Postgres."""
    SPOOLED = 202
    """It is on this node's disk, and will be in Postgres exactly once."""


class Duplicate(NamedTuple):
    """The client sent it before: it is stored once, and this is how."""

    ack: Ack
    """Where the first one is."""
    row: bytes
    """The first one as JSON, as an answer has it."""


Fate = Ack | Duplicate | Refusal


class Waiter(Protocol):
    """Who waits for an event's fate, and is told exactly once."""

    def settle(self, fate: Fate) -> None:
        """Answer the sender; must not block."""
