"""The impact of every kind on the screen: a line each, and what missed its target."""

from collections.abc import Sequence

from bench import console, targets
from bench.console import Console
from bench.hostile.impact import Impact

_FIGURES = ("peers", "connections", "p50 ms", "p99 ms", "max ms", "sender's", "MB", "grows")


def show(screen: Console, impacts: Sequence[Impact]) -> None:
    """Print a line for each kind, and what missed its target; latencies of `/healthz`."""
    title = "healthz beside misbehaving peers"
    table = console.table(title, ("kind",), _FIGURES, ("its answers", "the peers'", ""))
    for each in impacts:
        table.add_row(*_cells(each))
    screen.print(table)
    for each in impacts:
        _show_targets(screen, each)


def _show_targets(screen: Console, impact: Impact) -> None:
    for target in impact.targets:
        line = f"{impact.kind}: {target.name}: {target.measured}"
        if not target.is_reached:
            screen.print(f"{targets.shown(is_reached=False)}[/red] {line}")
        elif target.name.startswith("every"):
            screen.print(line)


def _cells(each: Impact) -> list[str]:
    return [
        each.kind,
        f"{each.peers:,}",
        f"{each.deeds.connections:,}",
        *(f"{each.bystander_ms[name]:.2f}" for name in ("p50", "p99", "max")),
        f"{each.sender_ms['p99']:.2f}",
        f"{each.rss_before_bytes / 1e6:.0f}",
        f"{each.rss_growth_bytes / 1e6:+.1f}",
        console.statuses(each.sender_statuses),
        console.statuses(each.deeds.statuses),
        targets.shown(is_reached=all(target.is_reached for target in each.targets)),
    ]
