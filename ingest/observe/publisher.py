"""The publisher: puts what this process has counted where every process of the server reads it.

Behind a batch, some dozens of times a second at most; four times a second in any case; and before a
scrape that this process answers. What a killed process counted since then is lost, and as all of it
is of one moment it is lost together: what is left balances.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from ingest.observe import counts
from ingest.observe.gauges import QUEUES, State, Waiting
from ingest.observe.histogram import Histogram
from ingest.observe.metrics import Metrics
from ingest.share.labels import LABELS_MAX
from ingest.share.member import Member
from ingest.share.slot import Figures

_INTERVAL_S: Final = 0.02
"""Between two of them behind batches: 0.1 % of a busy process's time."""
PLACES: Final = ("queue", "spool")
"""Where the events are that a process leaves if it ends now."""
_TICKS: Final = 4
"""At every so many, which is once a second, it is looked at what takes longer to find out."""
_LAGS: Final = 40
"""The lag that is told is the worst one of so many ticks: of ten seconds."""


class QueueGauges(Protocol):
    """What is read of the queues."""

    def take_newly_accepted(self) -> Mapping[int, int]:
        """Return by app the events taken in since the last call."""

    @property
    def unsettled_events(self) -> int:
        """Events in a queue or in a COPY."""

    @property
    def unsettled_bytes(self) -> int:
        """The size of the rows in a queue or in a COPY."""

    @property
    def waiting(self) -> Mapping[str, Waiting]:
        """What no writer has taken yet, by queue."""

    @property
    def waits_s(self) -> Histogram:
        """How long events were under way."""


class SpoolGauges(Protocol):
    """What is read of the spool."""

    @property
    def bytes(self) -> int:
        """What the spool takes on disk."""

    @property
    def free_bytes(self) -> int:
        """What is free on that disk."""

    @property
    def has_room(self) -> bool:
        """Whether it takes a batch, by what is known."""

    @property
    def oldest_s(self) -> float:
        """The age of the oldest event in the spool."""


class Sources(Protocol):
    """What is asked of all other parts."""

    def state(self) -> State:
        """Return what is so just now."""

    @property
    def refused_connections(self) -> int:
        """Connections that were closed at once; only ever grows."""

    @property
    def apps(self) -> Mapping[int, str]:
        """Names by number: those that have valid keys."""


class Publisher:
    """Publishes for one process, to be told when."""

    def __init__(
        self,
        member: Member,
        metrics: Metrics,
        queues: QueueGauges,
        spool: SpoolGauges | None,
        sources: Sources,
        queue_limits: Waiting,
    ) -> None:
        self._member = member
        self._metrics = metrics
        self._queues = queues
        self._spool = spool
        self._sources = sources
        self._queue_limits = queue_limits
        self._gauges: Sequence[float] | None = None
        """All but for those that the counts balance with: as they were at the last look."""
        self._accepted = [0] * (LABELS_MAX + 1)
        """Events by the place of an app's label."""
        self._are_apps_known = False
        self._lags_s = deque([0.0], _LAGS)
        self._ticks = 0
        self._published_s = 0.0

    def tick(self, lag_s: float) -> None:
        """Note the event loop's lag, say that it goes round, and publish: four times a second."""
        self._metrics.loop_lag_s.observe(lag_s)
        self._lags_s.append(lag_s)
        self._member.slot.beat()
        self._ticks += 1
        if self._ticks % _TICKS:
            self.publish()
        else:
            self.look()
            self._publish_refusals()

    def _publish_refusals(self) -> None:
        """Publish what was refused lately, if it is news; with the figures it has nothing to do."""
        refusals = self._metrics.latest_refusals.take()
        if refusals is not None:
            self._member.slot.publish_refusals(refusals)

    def note_batch(self) -> None:
        """Publish behind a batch, unless that was done just now."""
        if time.monotonic() - self._published_s >= _INTERVAL_S:
            self.publish()

    def forget_apps(self) -> None:
        """Read the apps anew before the next of their events is counted."""
        self._are_apps_known = False

    def look(self) -> None:
        """Look at everything as it is now, and publish."""
        self._gauges = None
        self.publish()

    def publish(self) -> None:
        """Publish what is counted as of now; between two turns of the loop."""
        self._published_s = time.monotonic()
        self._count_accepted()
        if self._gauges is None:
            self._gauges = self._look()
        row = counts.tally(
            self._metrics,
            self._queues.waits_s,
            self._accepted,
            self._sources.refused_connections,
            time.process_time_ns() // 1_000,
        )
        left = self._queues.unsettled_events, counts.events_in_spool(row)
        self._member.slot.publish(Figures(row, left, (*left, *self._gauges)))

    def events_in_spool(self) -> int:
        """Return how many wait in the spools of all processes."""
        self.publish()
        at = PLACES.index("spool")
        return sum(
            live.figures.left[at] for live in self._member.segment.read().live if live.figures.left
        )

    def _look(self) -> Sequence[float]:
        """Return what Gauges has behind its first two."""
        state, waiting = self._sources.state(), self._queues.waiting
        self._member.slot.is_postgres_up = state.is_postgres_up
        return (
            self._queues.unsettled_bytes,
            *self._queue_limits,
            *(number for queue in QUEUES for number in waiting[queue]),
            *(_spool_gauges(self._spool) if self._spool else (0, 0, 0, 0)),
            max(self._lags_s),
            *map(float, state),
        )

    def _count_accepted(self) -> None:
        """Add what was accepted lately to what the labels of its apps have."""
        labels = self._member.segment.labels
        if not self._are_apps_known:
            self._are_apps_known = labels.learn(self._sources.apps)
        for app_id, events in self._queues.take_newly_accepted().items():
            self._accepted[labels.place_of(app_id)] += events


def _spool_gauges(spool: SpoolGauges) -> tuple[float, float, float, float]:
    return spool.bytes, spool.free_bytes, spool.oldest_s, float(spool.has_room)
