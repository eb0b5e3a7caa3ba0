"""What an audit found: as tables on the screen, and as JSON."""

from dataclasses import asdict
from typing import Any

from bench import console, machine
from bench.audit.plan import AuditResult
from bench.audit.verdicts import INVARIANTS, Observed
from bench.console import Console


def show(screen: Console, result: AuditResult) -> None:
    """Print the faults, the counts, and the verdict on every invariant."""
    _show_faults(screen, result)
    _show_counts(screen, result)
    table = console.table(None, ("invariant", "verdict", "what was found"))
    for verdict in result.verdicts:
        mark = {True: "[green]kept", False: "[bold red]BROKEN", None: "[yellow]not judged"}
        first = f"{verdict.found:,}: {verdict.shown[0]}" if verdict.shown else ""
        table.add_row(INVARIANTS[verdict.invariant], mark[verdict.is_kept], _plain(first))
    screen.print(table)
    state = "[green]every promise kept" if result.is_good else "[bold red]AT LEAST ONE BROKEN"
    screen.print(f"seed {result.plan.seed}: {state}")


def _show_faults(screen: Console, result: AuditResult) -> None:
    table = console.table(None, ("fault",), ("times",))
    for name, count in sorted(result.faults.items()):
        table.add_row(name, f"{count:,}")
    for name in result.skipped:
        table.add_row(name, "[yellow]not possible here")
    for name, count in sorted(result.failed.items()):
        table.add_row(f"{name}, failed to happen", f"[yellow]{count:,}")
    screen.print(table)


def _show_counts(screen: Console, result: AuditResult) -> None:
    counts, took_s = result.counts, result.timings_s.get("faults", 0)
    acked = counts.acked_200 + counts.acked_202
    rows = [
        ("faults", f"{result.faults.total():,} in {took_s:.0f} s"),
        ("acknowledged", f"{acked:,} ({counts.acked_200:,} as 200, {counts.acked_202:,} as 202)"),
        (
            "of them early",
            f"{counts.acked_early:,}, of which {counts.early_lost:,} went in crashes",
        ),
        ("of them sent before", f"{counts.told:,}, and {counts.unsure:,} perhaps"),
        ("ids and keys", f"{counts.claims:,}; {counts.again:,} further attempts"),
        ("refused", f"{counts.refused:,}"),
        ("unknown", f"{counts.unknown:,}, of which {counts.unknown_stored:,} are stored"),
        ("stored", f"{counts.rows:,}, and {counts.rejected:,} set aside"),
        ("set aside and retried", f"{counts.retried:,}"),
    ]
    if counts.damaged:
        rows.append(("spoilt by the audit", f"{counts.damaged:,} acknowledged and not stored"))
    rows.append(("lost, doubled, phantom", _deviations(result)))
    if result.observed is not None:
        rows += _observations(result, result.observed)
    screen.print(console.pairs(rows))


def _observations(result: AuditResult, observed: Observed) -> list[tuple[str, str]]:
    scrapes = observed.scrapes
    return [
        ("scrapes", f"{scrapes.count:,}, of which {scrapes.unbalanced:,} unbalanced"),
        ("servers", _servers(result)),
        ("its largest process", f"{scrapes.rss_bytes_max / 1e6:.0f} MB"),
        *_questions(result, observed),
        ("spool", f"{scrapes.spool_bytes_max / 1e6:.0f} MB at its fullest"),
        ("drained in", f"{observed.drain_s:.1f} s"),
    ]


def _servers(result: AuditResult) -> str:
    plan = result.plan
    return f"{plan.servers:,}, with {plan.workers:,} workers each; {result.starts:,} starts"


def _questions(result: AuditResult, observed: Observed) -> list[tuple[str, str]]:
    if observed.archive is None:
        return []
    failed = ", ".join(f"{count:,} {why}" for why, count in result.unanswered.most_common())
    return [("questions", f"{result.questions:,} answered; {failed or 'none'} not")]


def _deviations(result: AuditResult) -> str:
    counts = result.counts
    if result.observed is None or not result.observed.is_drained:
        return "[yellow]not judged: the spool is not empty"
    return f"[bold]{counts.lost:,}, {counts.doubled:,}, {counts.phantom:,}"


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def as_json(result: AuditResult) -> dict[str, Any]:
    """Return everything about a run."""
    observed = result.observed
    return {
        "machine": machine.describe(),
        "postgres": result.postgres,
        "plan": {k: v for k, v in asdict(result.plan).items() if k != "citus_url"},
        "is_good": result.is_good,
        "faults": dict(sorted(result.faults.items())),
        "faults_total": result.faults.total(),
        "faults_not_possible": result.skipped,
        "faults_failed": dict(result.failed),
        "sent": result.sent,
        **asdict(result.counts),
        "server_starts": result.starts,
        "questions": result.questions,
        "questions_not_answered": dict(result.unanswered),
        "rss_bytes_max": observed.scrapes.rss_bytes_max if observed else None,
        "scrapes": observed.scrapes.count if observed else 0,
        "scrapes_unbalanced": observed.scrapes.unbalanced if observed else 0,
        "spool_bytes_max": observed.scrapes.spool_bytes_max if observed else None,
        "fresh_event_s": observed.fresh_s if observed else None,
        "drain_s": observed.drain_s if observed else None,
        "timings_s": result.timings_s,
        "verdicts": [
            verdict._asdict() | {"promise": INVARIANTS[verdict.invariant]}
            for verdict in result.verdicts
        ],
    }
