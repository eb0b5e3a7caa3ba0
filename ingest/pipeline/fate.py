"""What becomes of an event that was accepted: committed, spooled, or refused with a reason."""

from enum import Enum
from typing import Protocol

from ingest.errors import Refusal


class Ack(Enum):
    """A durable answer, and its HTTP status."""

    COMMITTED = 200
    """It is in Postgres."""
    SPOOLED = 202
    """It is on this node's disk, and will be in Postgres exactly once."""


Fate = Ack | Refusal


class Waiter(Protocol):
    """Who waits for an event's fate, and is told exactly once."""

    def settle(self, fate: Fate) -> None:
        """Answer the sender; must not block."""
