"""What can be wrong: each finding is found by the figures that mean it, and by no others."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from ingest.dashboard import findings
from ingest.dashboard.condition import Bounds, Condition, Insights, Worker
from ingest.dashboard.findings import Grade, Kind
from ingest.dashboard.overs import Over
from ingest.metering.rate_limits import RateLimits
from ingest.observe.counts import Counts, tally
from ingest.observe.gauges import Gauges
from ingest.observe.histogram import SECONDS, Histogram
from ingest.observe.history import Change
from ingest.observe.insights import InsightsGauges
from ingest.observe.metrics import Metrics
from ingest.share.labels import LABELS_MAX
from ingest.store.connection_budget import ConnectionBudget
from ingest.store.postgres_report import PostgresReport
from ingest.store.retention_report import RetentionReport
from tests.support.server import ROOT

BOUNDS = Bounds(
    connections=100,
    has_spool=True,
    spool_bytes=1_000,
    spool_free_bytes=100,
    partitions_ahead=3,
    has_archive=True,
    archive_interval_s=60,
)
GAUGES = Gauges(
    *(0.0 for _ in Gauges._fields),
)._replace(
    queue_events_limit=100,
    queue_bytes_limit=1_000,
    spool_free_bytes=10_000,
    spool_has_room=1,
    is_postgres_up=1,
    partitions_ahead=3,
    keys=1,
)
BUDGET = ConnectionBudget(needed=20, others=0, allowed=97, limit="max_connections")
RETENTION = RetentionReport(None, [], 0, [], None)
REPORT = PostgresReport("18.4", BUDGET, [], 5, 8192, 0, [], RETENTION)
OVER = Over("shop", is_key=False, refused=3_000, limits=RateLimits(events_per_second=100))


def counted(change: Callable[[Metrics], None] = lambda _: None, wait_s: float = 0.001) -> Counts:
    """Return what a process has counted after something."""
    metrics, waits_s = Metrics(), Histogram(SECONDS)
    change(metrics)
    waits_s.observe(wait_s, 100)
    return Counts(tally(metrics, waits_s, [0] * (LABELS_MAX + 1), refused_connections=0, cpu_us=0))


def within(counts: Counts, restarts: int = 0, insights_restarts: int = 0) -> Change:
    """Return what was counted in some time."""
    return Change(300.0, counts, restarts, insights_restarts)


WELL = Condition(
    datetime.now(UTC),
    BOUNDS,
    counted(),
    within(counted()),
    within(counted()),
    within(counted()),
    GAUGES,
    [Worker(0, 100, 0, 1, 1, 0.001), Worker(1, 101, 0, 1, 1, 0.001)],
    Insights(102, 0, InsightsGauges()),
    REPORT,
)


def gauged(**gauges: float) -> Condition:
    """Return a condition with other gauges."""
    return WELL._replace(gauges=GAUGES._replace(**gauges))


def lately(counts: Counts) -> Condition:
    """Return a condition in which that was counted of late."""
    return WELL._replace(lately=within(counts))


def of_postgres(**said: Any) -> Condition:  # noqa: ANN401 - what a report may hold
    """Return a condition in which Postgres says something else."""
    return WELL._replace(postgres=REPORT._replace(**said))


def answered(route: str, status: int) -> Callable[[Metrics], None]:
    """Return what counts an answer."""
    return lambda metrics: metrics.answers.update({(route, status): 3})


def set_of(**numbers: int) -> Callable[[Metrics], None]:
    """Return what counts events."""

    def change(metrics: Metrics) -> None:
        for name, number in numbers.items():
            setattr(metrics, name, number)

    return change


def damaged() -> Counts:
    """Return what a process has counted whose spool's disk has lost events."""

    class Spool:
        recovered_events = 3
        newly_damaged_events = 3

    row = tally(
        Metrics(Spool()),
        Histogram(SECONDS),
        [0] * (LABELS_MAX + 1),
        refused_connections=0,
        cpu_us=0,
    )
    return Counts(row)


def refusing_connections() -> Counts:
    """Return what a process has counted that closed some at once."""
    row = tally(
        Metrics(), Histogram(SECONDS), [0] * (LABELS_MAX + 1), refused_connections=2, cpu_us=0
    )
    return Counts(row)


WRONG: Mapping[Kind, Condition] = {
    Kind.NO_WORKER: WELL._replace(gauges=None, workers=[Worker(0, 0, 1, 0, 0, 0.0)]),
    Kind.TAKES_NOTHING: gauged(is_postgres_up=0, spool_has_room=0),
    Kind.REFUSES_EVENTS: lately(counted(answered("/event", 503))),
    Kind.EVENTS_DAMAGED: WELL._replace(counts=damaged()),
    Kind.EARLY_ACKS_LOST: WELL._replace(quarter=within(counted(set_of(async_refused_events=2)))),
    Kind.NOT_DURABLE: of_postgres(durability_off=["fsync"]),
    Kind.POSTGRES_AWAY: gauged(is_postgres_up=0),
    Kind.ROWS_REFUSED: gauged(is_refusing_rows=1),
    Kind.NODES_AWAY: gauged(nodes_away=1),
    Kind.DEAD_LETTERS: gauged(rejected_events=1),
    Kind.RETENTION_WAITS: gauged(is_retention_waiting=1),
    Kind.SPOOL_FILLS: gauged(spool_bytes=501),
    Kind.SPOOL_STUCK: gauged(spool_oldest_s=901),
    Kind.QUEUE_FILLS: gauged(plain_events=51),
    Kind.SLOW: lately(counted(wait_s=2.0)),
    Kind.OVERWORKED: lately(counted(lambda metrics: metrics.loop_lag_s.observe(0.3, 50))),
    Kind.CONNECTIONS_FULL: gauged(connections=91),
    Kind.WORKER_MISSING: WELL._replace(workers=[WELL.workers[0], Worker(1, 0, 1, 0, 0, 0.0)]),
    Kind.WORKER_RESTARTS: WELL._replace(quarter=within(counted(), restarts=1)),
    Kind.PARTITIONS_MISSING: gauged(partitions_ahead=0),
    Kind.NO_KEYS: gauged(keys=0),
    Kind.OVER_LIMIT: WELL._replace(overs=[OVER]),
    Kind.POSTGRES_FULL: of_postgres(connections=BUDGET._replace(others=90)),
    Kind.ARCHIVE_BEHIND: WELL._replace(insights=Insights(1, 0, InsightsGauges(lag_s=601))),
    Kind.INSIGHTS_RESTARTS: WELL._replace(quarter=within(counted(), insights_restarts=1)),
}
MORE = {
    "no room for rows": (gauged(plain_bytes=501), Kind.QUEUE_FILLS),
    "a batch that is refused": (lately(counted(answered("/events", 500))), Kind.REFUSES_EVENTS),
    "a disk that is nearly full": (gauged(spool_free_bytes=199), Kind.SPOOL_FILLS),
    "connections that are closed": (lately(refusing_connections()), Kind.CONNECTIONS_FULL),
}


def kinds(condition: Condition) -> list[Kind]:
    """Return what is found."""
    return [each.kind for each in findings.find(condition)]


def test_nothing_is_found_where_all_is_well() -> None:
    """Nor of a page that fails, which no client sends events to, nor where no event came."""
    assert kinds(WELL) == []
    assert kinds(lately(counted(answered("/metrics", 500)))) == []
    assert kinds(WELL._replace(postgres=None, trouble="no answer in time")) == []


@pytest.mark.parametrize("kind", Kind)
def test_each_finding_is_found_by_what_it_is_about(kind: Kind) -> None:
    """By itself, in words, with what it means and what to do."""
    (found,) = findings.find(WRONG[kind])
    assert found.kind is kind
    assert all((found.what, found.means, found.mend))
    assert f'id="{found.place}"' in (
        ROOT / "ingest" / "dashboard" / "templates" / "health.html"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize(("condition", "kind"), MORE.values(), ids=MORE)
def test_finding_has_more_than_one_cause(condition: Condition, kind: Kind) -> None:
    """Each of them is enough."""
    assert kinds(condition) == [kind]


def test_the_worst_comes_first() -> None:
    """What is lost before what may be lost one day."""
    wrong = gauged(is_postgres_up=0, spool_has_room=0, rejected_events=3, keys=0)
    grades = [each.grade for each in findings.find(wrong)]
    assert grades == [Grade.CRITICAL, Grade.WARNING, Grade.WARNING]


def test_reason_is_said_of_postgres_that_is_away() -> None:
    """As far as it is known here."""
    (found,) = findings.find(gauged(is_postgres_up=0)._replace(trouble="no answer in time"))
    assert found.what == "Postgres can't be written to: no answer in time"


def test_page_and_alerts_tell_the_same_to_do() -> None:
    """Each alert is a finding of its name, with the same words and as bad."""
    (group,) = yaml.safe_load((ROOT / "ops" / "alerts.yml").read_text())["groups"]
    alerts = {
        rule["alert"]: (rule["annotations"]["mend"], rule["labels"]["severity"])
        for rule in group["rules"]
    }
    severities = {Grade.CRITICAL: "page", Grade.WARNING: "ticket"}
    told = {
        found.kind.value: (found.mend, severities[found.grade])
        for kind in Kind
        for found in findings.find(WRONG[kind])
        if found.kind.value.startswith("Nonito")
    }
    assert told == alerts
