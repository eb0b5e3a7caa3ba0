"""What an audit found: as tables on the screen, and as JSON."""

from dataclasses import asdict
from typing import Any

from bench import console, machine
from bench.audit.plan import Outcome
from bench.audit.verdicts import INVARIANTS, Observed
from bench.console import Console


def show(screen: Console, outcome: Outcome) -> None:
    """Print the faults, the counts, and the verdict on every invariant."""
    _show_faults(screen, outcome)
    _show_counts(screen, outcome)
    table = console.table(None, ("invariant", "verdict", "what was found"))
    for verdict in outcome.verdicts:
        mark = {True: "[green]kept", False: "[bold red]BROKEN", None: "[yellow]not judged"}
        first = f"{verdict.found:,}: {verdict.shown[0]}" if verdict.shown else ""
        table.add_row(INVARIANTS[verdict.invariant], mark[verdict.is_kept], _plain(first))
    screen.print(table)
    state = "[green]every promise kept" if outcome.is_good else "[bold red]AT LEAST ONE BROKEN"
    screen.print(f"seed {outcome.plan.seed}: {state}")


def _show_faults(screen: Console, outcome: Outcome) -> None:
    table = console.table(None, ("fault",), ("times",))
    for name, count in sorted(outcome.faults.items()):
        table.add_row(name, f"{count:,}")
    for name in outcome.skipped:
        table.add_row(name, "[yellow]not possible here")
    for name, count in sorted(outcome.failed.items()):
        table.add_row(f"{name}, failed to happen", f"[yellow]{count:,}")
    screen.print(table)


def _show_counts(screen: Console, outcome: Outcome) -> None:
    counts, took_s = outcome.tallies, outcome.timings_s.get("faults", 0)
    acked = counts.acked_200 + counts.acked_202
    rows = [
        ("faults", f"{outcome.faults.total():,} in {took_s:.0f} s"),
        ("acknowledged", f"{acked:,} ({counts.acked_200:,} as 200, {counts.acked_202:,} as 202)"),
        ("refused", f"{counts.refused:,}"),
        ("unknown", f"{counts.unknown:,}, of which {counts.unknown_stored:,} are stored"),
        ("stored", f"{counts.rows:,}, and {counts.rejected:,} set aside"),
    ]
    if counts.damaged:
        rows.append(("spoilt by the audit", f"{counts.damaged:,} acknowledged and not stored"))
    rows.append(("lost, doubled, phantom", _deviations(outcome)))
    if outcome.observed is not None:
        rows += _observations(outcome, outcome.observed)
    screen.print(console.pairs(rows))


def _observations(outcome: Outcome, observed: Observed) -> list[tuple[str, str]]:
    books = observed.books
    return [
        ("scrapes", f"{books.scrapes:,}, of which {books.unbalanced:,} unbalanced"),
        ("server", f"{books.rss_bytes_max / 1e6:.0f} MB; {outcome.starts:,} starts"),
        ("spool", f"{books.spool_bytes_max / 1e6:.0f} MB at its fullest"),
        ("drained in", f"{observed.drain_s:.1f} s"),
    ]


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
