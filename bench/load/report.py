"""What a load run found: as tables on the screen, and as JSON."""

from typing import Any

import numpy as np

from bench import console, interpreter, machine
from bench.console import Console
from bench.load import lag
from bench.load.histogram import Histogram
from bench.load.pool import Cost, Run
from bench.load.verify import Verification

_CURVE_PERCENTS = np.array([0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0])
_FAULTS = {
    "nothing_acknowledged": "runs without an acknowledged event",
    "without_id": "acknowledgements without an id",
    "acknowledged_twice": "ids acknowledged more than once",
    "missing": "acknowledged events that are not in Postgres",
    "stored_twice": "events stored more than once",
    "different": "rows that are not what was sent",
    "uncounted": "acknowledgements that the client lost count of",
}


def as_json(run: Run, verification: Verification | None) -> dict[str, Any]:
    """Return everything about a run; latencies in milliseconds."""
    job, stats = run.job, run.stats
    return {
        "machine": machine.describe(),
        "job": {
            "connections": job.connections,
            "rate_per_s": job.rate or None,
            "seconds": job.seconds,
            "warm_up_s": job.warm_up_s,
            "processes": job.processes,
            "workers": job.workers,
            "payloads": len(job.payloads),
        },
        "events_per_s": stats.events_per_s,
        "statuses": {str(status): n for status, n in sorted(stats.statuses.items())},
        "lost": stats.lost,
        "unsent": stats.unsent,
        "latency_ms": stats.latencies.latency_ms(),
        "client_lag_ms": lag.lag_ms(stats.lags) if job.rate else None,
        "measured_the_client": lag.is_clients(stats),
        "percentile_curve": _curve(stats.latencies),
        "over_time": over_time(run),
        "server": _cost(run.server, stats.answers),
        "supervisor": _cost(run.supervisor, stats.answers) if job.workers else None,
        "postgres": _cost(run.postgres, stats.answers),
        "client_cpu_us_per_request": stats.client_us,
        "verified": _verified(verification),
    }


def over_time(run: Run) -> list[dict[str, float]]:
    """Return each time slice: its start in seconds, its requests, p50, p99 and max."""
    points = []
    for number, sparse in sorted(run.stats.slices.items()):
        slice_ = Histogram.of(sparse)
        found = slice_.latency_ms()
        point = {"s": number * run.job.slice_s, "requests": float(slice_.count)}
        points.append(point | {name: found[name] for name in ("p50", "p99", "max")})
    return points


def _server_label(run: Run) -> str:
    workers = run.job.workers
    return "server" if workers is None else f"server, workers: {workers}"


def _supervisor_row(run: Run) -> list[tuple[str, str]]:
    if run.job.workers is None:
        return []
    return [("  its supervisor's part", _shown_cost(run.supervisor, run.stats.answers))]


def _lag_row(run: Run) -> list[tuple[str, str]]:
    if not run.job.rate:
        return []
    lags = lag.lag_ms(run.stats.lags).items()
    return [("client's lag, ms", "  ".join(f"{name} {ms:.2f}" for name, ms in lags))]


def show(screen: Console, run: Run, verification: Verification | None) -> None:
    """Print a run's figures, and in red what is wrong with it."""
    stats = run.stats
    latencies = stats.latencies.latency_ms().items()
    rows = [
        ("events/s", f"[bold]{stats.events_per_s:,.0f}[/bold]"),
        ("latency, ms", "  ".join(f"{name} {ms:.2f}" for name, ms in latencies)),
        *_lag_row(run),
        ("answers", console.statuses(stats.statuses)),
        (_server_label(run), _shown_cost(run.server, stats.answers)),
        *_supervisor_row(run),
        ("Postgres", _shown_cost(run.postgres, stats.answers)),
        ("client", f"{stats.client_us:.1f} µs of CPU per request"),
        ("Python", str(interpreter.build())),
    ]
    screen.print(console.pairs(rows))
    if notice := lag.notice(stats):
        screen.print(f"[bold yellow]{notice}")
    if stats.lost or stats.unsent:
        screen.print(f"[red]{stats.lost:,} requests without an answer, {stats.unsent:,} unsent")
    if verification is not None:
        _show_verification(screen, verification)


def _show_verification(screen: Console, verification: Verification) -> None:
    """Print whether what was acknowledged is what is stored."""
    if verification.is_good:
        screen.print(
            f"[green]verified[/green]: {verification.acknowledged:,} acknowledged events are in"
            " Postgres, each exactly once and as it was sent"
        )
        return
    screen.print("[bold red]VOID: the books do not balance")
    for name, count in verification.faults.items():
        screen.print(f"[red]  {count:,} {_FAULTS[name]}")


def _curve(histogram: Histogram) -> dict[str, float]:
    values = histogram.percentiles_ns(_CURVE_PERCENTS) / 1e6
    return {f"{percent:g}": float(ms) for percent, ms in zip(_CURVE_PERCENTS, values, strict=True)}


def _cost(cost: Cost | None, answers: int) -> dict[str, float] | None:
    if cost is None:
        return None
    return {
        "cpu_s_per_100k_events": cost.cpu_s_per_100k(answers),
        "rss_bytes": cost.rss_bytes,
        "rss_growth_bytes": cost.rss_growth_bytes,
    }


def _shown_cost(cost: Cost | None, answers: int) -> str:
    if cost is None:
        return "[dim]not a process of this machine"
    cpu_s, rss, growth = cost.cpu_s_per_100k(answers), cost.rss_bytes, cost.rss_growth_bytes
    memory = f"{rss / 1e6:.0f} MB resident ({growth / 1e6:+.1f} while measured)"
    return f"{cpu_s:.2f} CPU-s per 100,000 events, {memory}"


def _verified(verification: Verification | None) -> dict[str, Any] | None:
    if verification is None:
        return None
    return {
        "acknowledged": verification.acknowledged,
        "balance": verification.is_good,
    } | verification.faults
