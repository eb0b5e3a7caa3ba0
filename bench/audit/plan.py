"""What an audit is to do, how far it is, and what came of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.audit.findings import EventCounts
from bench.audit.verdicts import Observed, Verdict

DRAIN_TIMEOUT_S: Final = 180.0


@dataclass(frozen=True)
class AuditPlan:
    """What to do; the run ends when faults and events are both reached, or `seconds` are over."""

    seed: int
    faults: int
    events: int
    seconds: float
    connections: int
    only: tuple[str, ...] = ()
    bug: str = ""
    workers: int = 1
    drain_timeout_s: float = DRAIN_TIMEOUT_S
    has_archive: bool = False
    """Whether the servers keep an archive, and somebody asks it."""
    servers: int = 1
    """On one Postgres."""
    citus_url: str = ""
    """Of the Citus that is its Postgres; empty for one of the audit's own."""


@dataclass
class AuditProgress:
    """How far a run is."""

    faults: int = 0
    acked: int = 0
    spool_events: float = 0.0
    current: str = ""


OnAuditProgress = Callable[[AuditProgress], None]


@dataclass
class AuditResult:
    """Everything that a run found."""

    plan: AuditPlan
    faults: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    """Kinds that this machine or these servers do not permit."""
    failed: Counter[str] = field(default_factory=Counter)
    """Injections that went wrong on their own; they count for nothing."""
    sent: int = 0
    counts: EventCounts = field(default_factory=EventCounts)
    verdicts: list[Verdict] = field(default_factory=list)
    observed: Observed | None = None
    timings_s: dict[str, float] = field(default_factory=dict)
    postgres: str = ""
    starts: int = 0
    questions: int = 0
    """Answers that were judged."""
    unanswered: Counter[str] = field(default_factory=Counter)
    """Why others were not answered."""

    @property
    def is_good(self) -> bool:
        """Whether every invariant was judged and kept, and something was acknowledged."""
        acked = self.counts.acked_200 + self.counts.acked_202
        return bool(acked) and all(verdict.is_kept for verdict in self.verdicts)
