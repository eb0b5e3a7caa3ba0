"""The queues to Postgres, each a queue of its own, and what they are together.

A plain event shares no batch with one that may have been stored before: finding out costs a batch
twice as much, and no client pays for what another one asks for. Nor does it share one with an app
whose rows Postgres refuses.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ingest.delivery.queue import EventQueue
from ingest.errors import Refusal
from ingest.observe import histogram
from ingest.observe.gauges import Waiting
from ingest.observe.histogram import Histogram


class Ways(NamedTuple):
    """The queues of one app."""

    plain: EventQueue
    """For events that nothing stored can be in the way of."""
    dedup: EventQueue
    """For events that may have been sent before, or that need a partition."""


class Queues:
    """Four queues, each as bounded as `make` makes it."""

    def __init__(self, make: Callable[[], EventQueue]) -> None:
        self.plain = make()
        self.dedup = make()
        self.apart = make()
        """For all events of apps that are kept apart; it is written as the dedup queue is."""
        self.hung = make()
        """For all events of apps whose rows take time-outs; it is written as that one is."""
        self._named = {
            "plain": self.plain,
            "dedup": self.dedup,
            "apart": self.apart,
            "hung": self.hung,
        }
        self._all = tuple(self._named.values())
        self.apps: set[int] = set()
        """All whose events this process has met."""
        self.waits_s = Histogram(histogram.SECONDS)
        """How long events were under way."""
        self._newly_accepted: Counter[int] = Counter()
        for queue in self._all:
            queue.meet(self.apps)
            queue.waits_s = self.waits_s
            queue.newly_accepted = self._newly_accepted
        self._usual = Ways(self.plain, self.dedup)
        self._ways: dict[int, Ways] = {}
        """Of apps that are kept apart."""
        self._on_change: list[Callable[[], None]] = []

    def of(self, app_id: int) -> Ways:
        """Return the queues of an app, until `on_change` is called."""
        return self._ways.get(app_id, self._usual)

    def on_change(self, call: Callable[[], None]) -> None:
        """Have something called whenever an app's queues are others than before."""
        self._on_change.append(call)

    def keep_apart(self, app_id: int, *, is_hung: bool = False) -> None:
        """Have an app's events share no batch with most others from now on.

        Those of one whose rows take time-outs share none with other apps that are kept apart.
        """
        queue = self.hung if is_hung else self.apart
        self._ways[app_id] = Ways(queue, queue)
        self._changed()

    def let_out(self, app_id: int) -> None:
        """Have an app's events go with all others again."""
        self._ways.pop(app_id, None)
        self._changed()

    def _changed(self) -> None:
        for call in self._on_change:
            call()

    def meet(self, app_id: int) -> None:
        """Take note of an app before the first of its events that this process has."""
        self.apps.add(app_id)

    def on_settled(self, call: Callable[[], None]) -> None:
        """Have something called behind the answers of each batch."""
        for queue in self._all:
            queue.on_settled = call

    def take_newly_accepted(self) -> dict[int, int]:
        """Return by app what was taken in since the last call: for who adds it up."""
        for queue in self._all:
            queue.count()
        taken = dict(self._newly_accepted)
        self._newly_accepted.clear()
        return taken

    @property
    def waiting(self) -> dict[str, Waiting]:
        """What no writer has taken yet, by queue."""
        return {
            name: Waiting(queue.waiting_events, queue.waiting_bytes)
            for name, queue in self._named.items()
        }

    @property
    def waiting_events(self) -> int:
        """Events that no writer has taken yet."""
        return sum(queue.waiting_events for queue in self._all)

    @property
    def unsettled_events(self) -> int:
        """Events whose senders have no answer yet."""
        return sum(queue.unsettled_events for queue in self._all)

    @property
    def unsettled_bytes(self) -> int:
        """The size in bytes of all unsettled rows."""
        return sum(queue.unsettled_bytes for queue in self._all)

    def close(self) -> None:
        """Take in no further event; what is here can still be taken out."""
        for queue in self._all:
            queue.close()

    async def drain(self) -> None:
        """Wait until every event taken in is settled."""
        for queue in self._all:
            await queue.drain()

    def refuse_all(self, refusal: Refusal) -> None:
        """Answer everybody who still waits; for the end of the process."""
        for queue in self._all:
            queue.refuse_all(refusal)
