"""The health of the server: what is wrong, what to do, and the figures behind it.

All but what Postgres says of itself is read from the memory that the server's processes share, so
the page is there while Postgres is away.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ingest import __version__
from ingest.dashboard.problems import trouble_of
from ingest.dashboard.replies import Page, Reply
from ingest.dashboard.routes import Access, Needs, Route, Visit
from ingest.observe import processes
from ingest.observe.counts import Counts
from ingest.observe.gauges import QUEUES
from ingest.observe.history import KEPT_S, Change
from ingest.observe.processes import Look
from ingest.store import connection_budget, postgres_report
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.postgres_report import STRAYS_MAX, PostgresReport
from ingest.store.rejected import COUNTED_MAX

_PATIENCE_S: Final = 2.0
_BAR_S: Final = 15
_BARS: Final = KEPT_S // _BAR_S
_MINUTE_S: Final = 60
_TALLEST: Final = 100
_EVENTS: Final = {
    "accepted": "accepted",
    "committed": "stored in Postgres at once",
    "spooled": "kept on disk",
    "replayed": "brought from disk to Postgres",
    "duplicate": "sent before",
    "failed": "refused after all",
    "dead_lettered": "rejected by Postgres",
}
"""What becomes of events, by the name of its count."""
_WAITS: Final = {
    "wait_s": "from the queue to the answer",
    "commit_s": "a commit",
    "loop_lag_s": "the event loop's lag",
}
_PARTS: Final = (0.5, 0.95, 0.99)


class Bar(NamedTuple):
    """One of a chart's, of 0 to _TALLEST; the place 0 is the oldest one's."""

    place: int
    height: float
    spooled: float


class Process(NamedTuple):
    """What the system and the process itself say of one."""

    look: Look | None
    began: datetime | None
    cpu: float | None
    """Its share of a core."""


async def show(visit: Visit) -> Reply:
    """Show it."""
    watch = visit.services.watch
    condition = watch.condition(*await _postgres(visit))
    bars, most = _bars(watch.history.changes(_BAR_S))
    pids = [*(each.pid for each in condition.workers), condition.insights.pid]
    values = {
        "condition": condition,
        "found": watch.found(condition),
        "version": __version__,
        "began": datetime.fromtimestamp(visit.services.segment.made_s, UTC),
        "events": _EVENTS,
        "count_of": _count,
        "waits": _WAITS,
        "parts": _PARTS,
        "queues": QUEUES,
        "bars": bars,
        "bars_max": _BARS,
        "most": most,
        "minutes": watch.history.changes(_MINUTE_S),
        "processes": {pid: _process(visit, pid) for pid in pids},
        "rejected_max": COUNTED_MAX,
        "strays_max": STRAYS_MAX,
    }
    return Page("health.html", values)


async def _postgres(visit: Visit) -> tuple[PostgresReport | None, str]:
    """Return what Postgres says of itself, or why it says nothing."""
    if visit.trouble:
        return None, visit.trouble
    services = visit.services
    needed = connection_budget.needed(
        workers=services.segment.workers,
        writers=services.config.writer.connections,
        has_insights=True,
    )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await services.kept.do(lambda each: postgres_report.read(each, needed)), ""
    except (Unavailable, RowRefused, TimeoutError) as failure:
        return None, trouble_of(failure)


def _count(counts: Counts, name: str) -> int:
    return sum(counts.accepted) if name == "accepted" else counts[f"{name}_events"]


def _bars(changes: Sequence[Change]) -> tuple[Sequence[Bar], float]:
    """Return the bars of what was accepted, and how many events a second the tallest stands for."""
    rates = [
        (each.rate(_count(each.counts, "accepted")), each.rate(_count(each.counts, "spooled")))
        for each in changes
    ]
    most = max((accepted for accepted, _ in rates), default=0.0)
    scale = _TALLEST / most if most else 0.0
    return [
        Bar(_BARS - 1 - place, accepted * scale, min(spooled, accepted) * scale)
        for place, (accepted, spooled) in enumerate(rates[:_BARS])
    ], most


def _process(visit: Visit, pid: int) -> Process:
    look = processes.look(pid) if pid else None
    began = datetime.fromtimestamp(look.began_s, UTC) if look else None
    return Process(look, began, visit.services.watch.history.cpu_share(pid))


ROUTES: Final = (Route("GET", "/health", Access.ADMIN, show, needs=Needs.MEMORY),)
