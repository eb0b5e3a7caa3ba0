"""The watch: looks once a second how the server is, and knows since when something is wrong.

It reads the memory that all processes of the server share, and asks nobody: while Postgres is away,
a disk hangs or a worker is stuck it goes on.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ingest.dashboard import findings
from ingest.dashboard.condition import Bounds, Condition, gauges_of, insights_of, workers_of
from ingest.dashboard.findings import Finding, Kind
from ingest.dashboard.overs import Overs
from ingest.observe.counts import Counts
from ingest.observe.history import History
from ingest.share.segment import Reading, Segment
from ingest.store.postgres_report import PostgresReport

_LOOK_S: Final = 1.0
_NOW_S: Final = 10
_LATELY_S: Final = 300
_QUARTER_S: Final = 900


class Found(NamedTuple):
    """What is wrong, and since when."""

    finding: Finding
    since: datetime | None
    """None of what only Postgres can tell, which is not asked all the time."""
    is_older: bool
    """Whether it was so already when this was looked at first."""


class Watch:
    """Keeps watch of one server."""

    def __init__(self, segment: Segment, bounds: Bounds) -> None:
        self._segment = segment
        self.history = History(segment)
        self._bounds = bounds
        self._overs = Overs(segment)
        self._first_look: datetime | None = None
        self._began: dict[Kind, datetime] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Take note of what is counted, and of what is wrong since now."""
        self._overs.note()
        condition = self._condition(self.history.note())
        self._first_look = self._first_look or condition.at
        self._began = {
            each.kind: self._began.get(each.kind, condition.at) for each in findings.find(condition)
        }

    def condition(self, postgres: PostgresReport | None = None, trouble: str = "") -> Condition:
        """Return how the server is now, with what Postgres says, or why it says nothing."""
        return self._condition(self._segment.read())._replace(postgres=postgres, trouble=trouble)

    def _condition(self, reading: Reading) -> Condition:
        return Condition(
            datetime.now(UTC),
            self._bounds,
            Counts([*reading.counts, *Counts.nothing()[len(reading.counts) :]]),
            self.history.change(_NOW_S),
            self.history.change(_LATELY_S),
            self.history.change(_QUARTER_S),
            gauges_of(reading),
            workers_of(reading),
            insights_of(reading),
            overs=self._overs.lately(),
        )

    def found(self, condition: Condition) -> Sequence[Found]:
        """Return what is wrong, the worst first."""
        return [self._dated(each) for each in findings.find(condition)]

    def _dated(self, finding: Finding) -> Found:
        since = self._began.get(finding.kind)
        return Found(finding, since, since is not None and since == self._first_look)
