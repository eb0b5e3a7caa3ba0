"""What an audit found: as tables on the screen, and as JSON."""

from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.audit.plan import Outcome
from bench.audit.verdicts import INVARIANTS


def show(console: Console, outcome: Outcome) -> None:
    """Print the faults, the counts, and the verdict on every invariant."""
    _show_faults(console, outcome)
    _show_counts(console, outcome)
    table = Table(box=SIMPLE)
    for column in ("invariant", "verdict", "what was found"):
        table.add_column(column)
    for verdict in outcome.verdicts:
        mark = {True: "[green]kept", False: "[bold red]BROKEN", None: "[yellow]not judged"}
        first = f"{verdict.found:,}: {verdict.shown[0]}" if verdict.shown else ""
        table.add_row(INVARIANTS[verdict.invariant], mark[verdict.is_kept], _plain(first))
    console.print(table)
    state = "[green]every promise kept" if outcome.is_good else "[bold red]AT LEAST ONE BROKEN"
    console.print(f"seed {outcome.plan.seed}: {state}")


def _show_faults(console: Console, outcome: Outcome) -> None:
    table = Table(box=SIMPLE)
    table.add_column("fault")
    table.add_column("times", justify="right")
    for name, count in sorted(outcome.faults.items()):
        table.add_row(name, f"{count:,}")
    for name in outcome.skipped:
        table.add_row(name, "[yellow]not possible here")
    for name, count in sorted(outcome.failed.items()):
        table.add_row(f"{name}, failed to happen", f"[yellow]{count:,}")
    console.print(table)


def _show_counts(console: Console, outcome: Outcome) -> None:
    tallies, timings = outcome.tallies, outcome.timings_s
    acked = tallies.acked_200 + tallies.acked_202
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("faults", f"{outcome.faults.total():,} in {timings.get('faults', 0):.0f} s")
    table.add_row(
        "acknowledged", f"{acked:,} ({tallies.acked_200:,} as 200, {tallies.acked_202:,} as 202)"
    )
    table.add_row("refused", f"{tallies.refused:,}")
    table.add_row("unknown", f"{tallies.unknown:,}, of which {tallies.unknown_stored:,} are stored")
    table.add_row("stored", f"{tallies.rows:,}, and {tallies.rejected:,} set aside")
    if tallies.damaged:
        table.add_row("spoilt by the audit", f"{tallies.damaged:,} acknowledged and not stored")
    table.add_row("lost, doubled, phantom", _deviations(outcome))
    if outcome.observed is not None:
        books = outcome.observed.books
        table.add_row("scrapes", f"{books.scrapes:,}, of which {books.unbalanced:,} unbalanced")
        table.add_row("server", f"{books.rss_bytes_max / 1e6:.0f} MB; {outcome.starts:,} starts")
        table.add_row("spool", f"{books.spool_bytes_max / 1e6:.0f} MB at its fullest")
        table.add_row("drained in", f"{outcome.observed.drain_s:.1f} s")
    console.print(table)


def _deviations(outcome: Outcome) -> str:
    tallies = outcome.tallies
    if outcome.observed is None or not outcome.observed.is_drained:
        return "[yellow]not judged: the spool is not empty"
    return f"[bold]{tallies.lost:,}, {tallies.doubled:,}, {tallies.phantom:,}"


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return everything about a run."""
    observed = outcome.observed
    return {
        "machine": machine.describe(),
        "postgres": outcome.postgres,
        "plan": asdict(outcome.plan),
        "is_good": outcome.is_good,
        "faults": dict(sorted(outcome.faults.items())),
        "faults_total": outcome.faults.total(),
        "faults_not_possible": outcome.skipped,
        "faults_failed": dict(outcome.failed),
        "sent": outcome.sent,
        **asdict(outcome.tallies),
        "server_starts": outcome.starts,
        "rss_bytes_max": observed.books.rss_bytes_max if observed else None,
        "scrapes": observed.books.scrapes if observed else 0,
        "scrapes_unbalanced": observed.books.unbalanced if observed else 0,
        "spool_bytes_max": observed.books.spool_bytes_max if observed else None,
        "fresh_event_s": observed.fresh_s if observed else None,
        "drain_s": observed.drain_s if observed else None,
        "timings_s": outcome.timings_s,
        "verdicts": [
            verdict._asdict() | {"promise": INVARIANTS[verdict.invariant]}
            for verdict in outcome.verdicts
        ],
    }
