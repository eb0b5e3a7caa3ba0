"""The two queues to Postgres, each a queue of its own, and what they are together.

A plain event shares no batch with one that may have been stored before: finding out costs a batch
twice as much, and no client pays for what another one asks for.
"""

from collections.abc import Callable

from ingest.delivery.queue import EventQueue
from ingest.errors import Refusal


class Queues:
    """The plain queue and the dedup queue; each is as bounded as `make` makes it."""

    def __init__(self, make: Callable[[], EventQueue]) -> None:
        self.plain = make()
        """For events that nothing stored can be in the way of."""
        self.dedup = make()
        """For events that may have been sent before, or that need a partition."""
        self.both = (self.plain, self.dedup)

    @property
    def accepted_events(self) -> int:
        """Events taken in since the start; only ever grows."""
        return sum(queue.accepted_events for queue in self.both)

    @property
    def waiting_events(self) -> int:
        """Events that no writer has taken yet."""
        return sum(queue.waiting_events for queue in self.both)

    @property
    def unsettled_events(self) -> int:
        """Events whose senders have no answer yet."""
        return sum(queue.unsettled_events for queue in self.both)

    @property
    def unsettled_bytes(self) -> int:
        """The size in bytes of all unsettled rows."""
        return sum(queue.unsettled_bytes for queue in self.both)

    def close(self) -> None:
        """Take in no further event; what is here can still be taken out."""
        for queue in self.both:
            queue.close()

    async def drain(self) -> None:
        """Wait until every event taken in is settled."""
        for queue in self.both:
            await queue.drain()

    def refuse_all(self, refusal: Refusal) -> None:
        """Answer everybody who still waits; for the end of the process."""
        for queue in self.both:
            queue.refuse_all(refusal)
