"""A run of `insights` on the screen: both sides of each question, the loads, and the targets."""

import statistics
from collections.abc import Sequence

from bench import console, targets
from bench.console import Console
from bench.insights.result import EVENTS, Asked, Found, Load, median_of


def show(screen: Console, found: Found) -> None:
    """Print all but the questions: medians, the targets, or why it does not count."""
    _show_storage(screen, found)
    _show_loads(screen, found)
    console.show_void(screen, found.void)
    if found.void:
        return
    if found.events != EVENTS:
        screen.print(f"[yellow]The targets are meant for {EVENTS:,} events.")
    rows = (((each.name, each.wanted, each.measured), each.is_reached) for each in found.targets)
    screen.print(targets.table(("", "wanted", "seen"), rows))


def show_questions(screen: Console, events: int, asked: Sequence[Asked]) -> None:
    """Print medians over the rounds, and whether the answers are equal."""
    figures = ("ours, s", "its CPU", "SQL, s", "SQL / ours")
    table = console.table(f"{events:,} events", ("question",), figures, ("the answers",))
    for each in asked:
        table.add_row(
            each.name,
            f"{statistics.median(each.ours_s):.3f}",
            f"{statistics.median(each.ours_cpu_s):.3f}",
            f"{statistics.median(each.sql_s):.3f}",
            f"{each.times_faster:,.1f}",
            "[red]differ" if each.differences else "are equal",
        )
    screen.print(table)


def _show_storage(screen: Console, found: Found) -> None:
    storage, archiving = found.storage, found.archiving
    screen.print(
        f"{storage.bytes_an_event:.1f} bytes an event in {storage.files} files "
        f"(in Postgres {storage.postgres_bytes / max(1, storage.stored):.0f})\n"
        f"archived at {found.archived_per_s:,.0f} events/s, {archiving.cpu_s:.1f} s of CPU; "
        f"without the last merging at {found.events / archiving.written_s:,.0f}, "
        f"{archiving.written_cpu_s:.1f} s\n"
        f"an event is in an answer after {statistics.median(found.fresh_s):.2f} s, "
        f"{max(found.fresh_s):.2f} at most"
    )


def _show_loads(screen: Console, found: Found) -> None:
    figures = ("events/s", "p50 ms", "p99 ms", "questions", "its CPU")
    table = console.table("What asking costs who sends", ("load",), figures)
    for name, loads in (
        ("with nobody beside it", [each.alone for each in found.loads]),
        ("under one heavy question after the other", [each.asked for each in found.loads]),
        ("beside a stand-in of the same CPU", [each.beside for each in found.loads]),
    ):
        table.add_row(name, *_cells(median_of(loads)))
    screen.print(table)


def _cells(load: Load) -> list[str]:
    return [
        f"{load.events_per_s:,.0f}",
        f"{load.p50_ms:.2f}",
        f"{load.p99_ms:.2f}",
        f"{load.questions:,.0f}",
        f"{load.cpu_share:.0%}",
    ]
