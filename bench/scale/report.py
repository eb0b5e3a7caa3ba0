"""Runs with more and fewer workers on the screen: a line for each number, the targets, the void."""

from bench import console, interpreter, targets
from bench.console import Console
from bench.scale.result import POSTGRES_CPU, RATE, SERVER_CPU, SPREAD, Scale

_FIGURES = (
    *("events/s", "factor", "CPU-s", "supervisor", "Postgres", "of one's", "events a COPY"),
    *("spread", "p50 ms", "p99 ms", "share used"),
)


def show(screen: Console, found: Scale) -> None:
    """Print medians over the rounds, what else may have bound a run, and the targets."""
    share, slice_s, period_s = found.share.of_core, found.share.slice_s, found.share.period_s
    screen.print(f"{interpreter.build()}")
    screen.print(
        f"each worker has {share:.1%} of a core, {slice_s * 1e3:g} of {period_s * 1e3:g} ms, "
        f"held to it by {found.throttle}"
    )
    title = f"{found.connections}; CPU-seconds per 100,000 events"
    table = console.table(title, ("workers",), _FIGURES)
    for workers in found.counts:
        table.add_row(str(workers), *_cells(found, workers))
    screen.print(table)
    for workers in found.counts:
        for reason in found.bounds(workers):
            screen.print(
                f"[yellow]{workers} workers, their share may not be the limit:[/yellow] {reason}"
            )
    _show_targets(screen, found)
    console.show_void(screen, found.void)


def _cells(found: Scale, workers: int) -> list[str]:
    if found.named(workers, RATE) is None:
        return ["[red]void"]
    p50_ms, p99_ms = (found.latency_ms(workers, each) for each in ("p50", "p99"))

    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return [
        "[bold]" + shown(found.named(workers, RATE), ",.0f"),
        shown(found.factor(workers, RATE), ".2f"),
        shown(found.named(workers, SERVER_CPU), ".2f"),
        shown(found.named(workers, "supervisor_cpu_s_per_100k"), ".2f"),
        shown(found.named(workers, POSTGRES_CPU), ".2f"),
        shown(found.factor(workers, POSTGRES_CPU), ".2f"),
        shown(found.named(workers, "batch_events"), ".1f"),
        shown(found.named(workers, SPREAD), ".2f"),
        shown(p50_ms, ".1f"),
        shown(p99_ms, ".1f"),
        shown(found.named(workers, "share_used"), ".0%"),
    ]


def _show_targets(screen: Console, found: Scale) -> None:
    rows = []
    for target, measured in found.reached():
        shown = "void" if measured is None else f"{measured:.2f}"
        cells = (target.label, str(target.workers), shown, str(target.bound))
        rows.append((cells, target.bound.admits(measured)))
    if rows:
        screen.print(targets.table(("", "workers", "measured", "target"), rows))
