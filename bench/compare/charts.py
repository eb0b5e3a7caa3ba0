"""The bar chart of a comparison: medians, with a line from minimum to maximum."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.entries import ONCE
from bench.compare.rounds import Measured

_DPI = 120
_GROUP_HEIGHT = 0.8
_OURS, _OTHERS = ("#0b6e4f", "#5fbf95"), ("#6b7280", "#b6bcc6")
"""A dark and a light shade: they alternate by the number of connections."""


def save(measured: Sequence[Measured], path: Path) -> None:
    """Draw single POSTs into a PNG file; raise OSError. Batches and COPY alone are left out."""
    served = [each for each in measured if each.connections != ONCE and each.events == 1]
    groups = sorted({each.connections for each in served})
    labels = list(dict.fromkeys(_label(each) for each in served))
    figure = Figure(figsize=(10, 1.4 + 0.75 * len(labels)), layout="constrained")
    axes = figure.subplots()
    for each in served:
        _draw(axes, each, labels.index(_label(each)), groups)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlabel="answers a second on one core (median, minimum to maximum)")
    shown = " and ".join(map(str, groups))
    axes.set_title(f"Single POSTs a second, {shown} connections from top to bottom")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=_DPI)


def _draw(axes: Axes, each: Measured, row: int, groups: Sequence[int]) -> None:
    spread = each.spread("events_per_s")
    if spread is None:
        return
    middle, low, high = spread
    group = groups.index(each.connections)
    height = _GROUP_HEIGHT / len(groups)
    shades = _OURS if each.entry.startswith("ours") else _OTHERS
    bar = axes.barh(
        row + (group - (len(groups) - 1) / 2) * height,
        middle,
        height,
        xerr=[[middle - low], [high - middle]],
        color=shades[group % len(shades)],
        error_kw={"ecolor": "#111827", "elinewidth": 1},
    )
    axes.bar_label(bar, [f"{middle:,.0f}"], padding=4, fontsize=8)


def _label(each: Measured) -> str:
    return f"{each.label}\n(its 200 means: {each.promise})"
