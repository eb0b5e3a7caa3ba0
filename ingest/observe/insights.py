"""What the insights process publishes: its share of the CPU, and how the archive is."""

import time
from typing import Final, NamedTuple

from ingest.observe.counts import NUMBERS
from ingest.share.member import Member
from ingest.share.slot import Figures

_TICKS: Final = 4
"""At every so many, which is once a second, it publishes."""


class InsightsGauges(NamedTuple):
    """How the archive is just now, and who asks it."""

    lag_s: float = 0.0
    """How old what is not in it may be."""
    files: float = 0
    bytes: float = 0
    events: float = 0
    tail_events: float = 0
    """Events that are not in it yet, as far as is known."""
    questions: float = 0
    """Questions that are being answered."""
    postgres_connections: float = 0
    """Those of its own, beside DuckDB's."""


class InsightsPublisher:
    """Publishes for the insights process; gauges are noted by whoever knows them."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._ticks = 0
        self._gauges = InsightsGauges()

    def note(self, **gauges: float) -> None:
        """Take note of what some of the gauges are; it is published within a second."""
        self._gauges = self._gauges._replace(**gauges)

    def tick(self, lag_s: float) -> None:
        """Say that the event loop goes round: four times a second."""
        del lag_s
        self._member.slot.beat()
        self._ticks += 1
        if not self._ticks % _TICKS:
            self.publish()

    def publish(self) -> None:
        """Publish what is so now; all other counts are workers'."""
        at = NUMBERS.index("cpu_us")
        counts = [0] * at + [time.process_time_ns() // 1_000]
        self._member.slot.publish(Figures(counts, insights=self._gauges))
