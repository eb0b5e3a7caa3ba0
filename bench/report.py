"""What a load run found: as tables on the screen, and as JSON."""

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import interpreter, lag, machine
from bench.crew import Cost, Run
from bench.histogram import Histogram
from bench.plan import Outcome
from bench.verify import Books

PERCENTS = (50.0, 90.0, 99.0, 99.9)
CURVE_PERCENTS = np.array([0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0])
_FAULTS = {
    "nothing_acknowledged": "runs without an acknowledged event",
    "without_id": "acknowledgements without an id",
    "acknowledged_twice": "ids acknowledged more than once",
    "missing": "acknowledged events that are not in Postgres",
    "stored_twice": "events stored more than once",
    "different": "rows that are not what was sent",
    "uncounted": "acknowledgements that the client lost count of",
}


def latency_ms(histogram: Histogram) -> dict[str, float]:
    """Return p50, p90, p99, p99.9 and max in milliseconds."""
    found = histogram.percentiles_ns(np.array(PERCENTS)) / 1e6
    named = {f"p{percent:g}": float(value) for percent, value in zip(PERCENTS, found, strict=True)}
    return named | {"max": histogram.max_ns / 1e6}


def as_json(run: Run, books: Books | None) -> dict[str, Any]:
    """Return everything about a run; latencies in milliseconds."""
    job, outcome = run.job, run.outcome
    return {
        "machine": machine.describe(),
        "job": {
            "connections": job.connections,
            "rate_per_s": job.rate or None,
            "seconds": job.seconds,
            "warm_up_s": job.warm_up_s,
            "processes": job.processes,
            "payloads": len(job.payloads),
        },
        "events_per_s": outcome.events_per_s,
        "statuses": {str(status): n for status, n in sorted(outcome.statuses.items())},
        "lost": outcome.lost,
        "unsent": outcome.unsent,
        "latency_ms": latency_ms(outcome.latencies),
        "client_lag_ms": lag.lag_ms(outcome.lags) if job.rate else None,
        "measured_the_client": lag.is_clients(outcome),
        "percentile_curve": _curve(outcome.latencies),
        "over_time": over_time(run),
        "server": _cost(run.server, outcome.answers),
        "postgres": _cost(run.postgres, outcome.answers),
        "client_cpu_us_per_request": client_us(outcome),
        "verified": _verified(books),
    }


def over_time(run: Run) -> list[dict[str, float]]:
    """Return each time slice: its start in seconds, its requests, p50, p99 and max."""
    points = []
    for number, sparse in sorted(run.outcome.slices.items()):
        slice_ = Histogram.of(sparse)
        found = latency_ms(slice_)
        point = {"s": number * run.job.slice_s, "requests": float(slice_.count)}
        points.append(point | {name: found[name] for name in ("p50", "p99", "max")})
    return points


def client_us(outcome: Outcome) -> float:
    """Return the client's CPU time per request in microseconds."""
    return outcome.client_cpu_s / outcome.answers * 1e6 if outcome.answers else 0.0


def show(console: Console, run: Run, books: Books | None) -> None:
    """Print a run's figures, and in red what is wrong with it."""
    outcome = run.outcome
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("events/s", f"[bold]{outcome.events_per_s:,.0f}[/bold]")
    shown = "  ".join(f"{name} {ms:.2f}" for name, ms in latency_ms(outcome.latencies).items())
    table.add_row("latency, ms", shown)
    statuses = (f"{status}: {count:,}" for status, count in sorted(outcome.statuses.items()))
    if run.job.rate:
        late = "  ".join(f"{name} {ms:.2f}" for name, ms in lag.lag_ms(outcome.lags).items())
        table.add_row("client's lag, ms", late)
    table.add_row("answers", "  ".join(statuses) or "none")
    for name, cost in (("server", run.server), ("Postgres", run.postgres)):
        table.add_row(name, _shown_cost(cost, outcome.answers))
    table.add_row("client", f"{client_us(outcome):.1f} µs of CPU per request")
    table.add_row("Python", str(interpreter.build()))
    console.print(table)
    if notice := lag.notice(outcome):
        console.print(f"[bold yellow]{notice}")
    if outcome.lost or outcome.unsent:
        console.print(
            f"[red]{outcome.lost:,} requests without an answer, {outcome.unsent:,} unsent"
        )
    if books is not None:
        show_books(console, books)


def show_books(console: Console, books: Books) -> None:
    """Print whether the books balance."""
    if books.balance:
        console.print(
            f"[green]verified[/green]: {books.acknowledged:,} acknowledged events are in Postgres, "
            "each exactly once and as it was sent"
        )
        return
    console.print("[bold red]VOID: the books do not balance")
    for name, count in books.faults.items():
        console.print(f"[red]  {count:,} {_FAULTS[name]}")


def _curve(histogram: Histogram) -> dict[str, float]:
    values = histogram.percentiles_ns(CURVE_PERCENTS) / 1e6
    return {f"{percent:g}": float(ms) for percent, ms in zip(CURVE_PERCENTS, values, strict=True)}


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


def _verified(books: Books | None) -> dict[str, Any] | None:
    if books is None:
        return None
    return {"acknowledged": books.acknowledged, "balance": books.balance, **books.faults}
