"""The two queues to Postgres, each a queue of its own, and what they are together.

A plain event shares no batch with one that may have been stored before: finding out costs a batch
twice as much, and no client pays for what another one asks for.
"""

from collections import Counter
from collections.abc import Callable

from ingest.delivery.queue import EventQueue
from ingest.errors import Refusal
from ingest.observe import histogram
from ingest.observe.collector import Waiting
from ingest.observe.histogram import Histogram


class Queues:
    """The plain queue and the dedup queue; each is as bounded as `make` makes it."""

    def __init__(self, make: Callable[[], EventQueue]) -> None:
        self.plain = make()
        """For events that nothing stored can be in the way of."""
        self.dedup = make()
        """For events that may have been sent before, or that need a partition."""
        self.both = (self.plain, self.dedup)

    def meet(self, app_id: int) -> None:
        """Take note of an app before the first of its events that this process has."""
        for queue in self.both:
            queue.apps.add(app_id)

    @property
    def accepted_by_app(self) -> Counter[int]:
        """Events taken in since the start, by app; they only ever grow."""
        return sum((queue.accepted_by_app for queue in self.both), Counter())

    @property
    def waiting(self) -> dict[str, Waiting]:
        """What no writer has taken yet, by queue."""
        named = {"plain": self.plain, "dedup": self.dedup}
        return {
            name: Waiting(queue.waiting_events, queue.waiting_bytes)
            for name, queue in named.items()
        }

    @property
    def waits_s(self) -> Histogram:
        """How long events were under way."""
        return histogram.total((queue.waits_s for queue in self.both), histogram.SECONDS)

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
