"""Metrics: plain numbers of one process, counted once a batch.

They are read all at once between two turns of the event loop, so they balance: accepted + recovered
= committed + replayed + dead-lettered + damaged + failed + duplicate + in the spool + in the queue
(waiting, or in a COPY). So do those of all processes of a server together, as each adds what
balances by itself; of one that has ended, what was in its queue and spool is what it `left`. From
the spool another process recovers it.
"""

from collections import Counter
from typing import Final, Protocol

from ingest.errors import Code, Refusal
from ingest.observe.histogram import EVENTS, SECONDS, Histogram
from ingest.observe.refusals import LatestRefusals

EVENT_ROUTE: Final = "/event"
EVENT_ROUTES: Final = (EVENT_ROUTE, "/events")
SDK_ROUTE: Final = "sdk"
"""All that existing SDKs send and ask for."""
PAGE_ROUTE: Final = "page"
"""The documentation and all that belongs to it."""
OTHER_ROUTE: Final = "other"
"""Of what leads nowhere, or can't be read."""
ROUTES: Final = (
    *EVENT_ROUTES,
    "/healthz",
    "/metrics",
    "/readyz",
    SDK_ROUTE,
    PAGE_ROUTE,
    OTHER_ROUTE,
)


class SpoolCounts(Protocol):
    """What the spool counts itself."""

    @property
    def recovered_events(self) -> int:
        """Events found there that another process had left; only ever grows."""

    @property
    def newly_damaged_events(self) -> int:
        """Events that the disk damaged since they were appended or found; only ever grows."""


class Metrics:
    """What is counted, for one process."""

    def __init__(self, spool: SpoolCounts | None = None) -> None:
        self._spool = spool
        self.answers: Counter[tuple[str, int]] = Counter()
        """Answers that were sent, by route and status; but for those in `committed_answers`."""
        self.committed_answers = 0
        """The fast lane's 200s: most of all answers, and in a Counter each would cost 0.1 µs."""
        self.over_answers = 0
        """The fast lane's 429s, each of which refuses an event; for the same reason."""
        self.refusals: Counter[Code] = Counter()
        """Refused events by code, before and after acceptance."""
        self.latest_refusals = LatestRefusals()
        """Some of them, as their senders were told."""
        self.committed_events = 0
        self.spooled_events = 0
        self.replayed_events = 0
        self.dead_lettered_events = 0
        """Spooled, and then refused by Postgres: dead letters, in `rejected_events`."""
        self.failed_events = 0
        """Accepted, and then refused."""
        self.duplicate_events = 0
        """Accepted, and then found to have been sent before."""
        self.async_acks = 0
        """Requests that were answered before their event was durable, as they asked."""
        self.async_refused_events = 0
        """Events of theirs that were refused after all: nobody was told."""
        self.dropped_partitions = 0
        self.expired_events = 0
        """Stored, and gone since as they were older than they are kept."""
        self.batch_events = Histogram(EVENTS, parts=1)
        self.commit_s = Histogram(SECONDS)
        self.loop_lag_s = Histogram(SECONDS)

    def committed(self, events: int, commit_s: float) -> None:
        """Count a batch that is committed."""
        if not events:
            return
        self.committed_events += events
        self.batch_events.observe(events)
        self.commit_s.observe(commit_s)

    @property
    def recovered_events(self) -> int:
        """Events found in the spool, left there by another process."""
        return self._spool.recovered_events if self._spool else 0

    @property
    def damaged_events(self) -> int:
        """Events that were spooled and that the disk then damaged."""
        return self._spool.newly_damaged_events if self._spool else 0

    @property
    def events_in_spool(self) -> int:
        """Events that are spooled and not yet replayed."""
        come = self.spooled_events + self.recovered_events
        return come - self.replayed_events - self.dead_lettered_events - self.damaged_events

    def refused(self, code: Code, events: int = 1) -> None:
        """Count events that their sender is told to be refused; every refusal comes by here."""
        self.refusals[code] += events

    def refuse(self, refusal: Refusal, app_id: int) -> None:
        """Count one and note what is said of it; NOBODYS of a request that is no app's."""
        self.refused(refusal.code)
        self.latest_refusals.note(refusal, app_id)

    def replayed(self, events: int, dead: int) -> None:
        """Count what has left the spool: brought to Postgres, and kept as dead letters."""
        self.replayed_events += events
        self.dead_lettered_events += dead

    def expired(self, partitions: int, events: int) -> None:
        """Count what has gone as it is older than it is kept."""
        self.dropped_partitions += partitions
        self.expired_events += events

    def failed(self, code: Code, events: int = 1) -> None:
        """Count refused events that had been accepted."""
        self.refused(code, events)
        self.failed_events += events
