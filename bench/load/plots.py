"""The plot of a load run: latency over time, and the curve of percentiles."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.load.histogram import Histogram
from bench.load.pool import Run
from bench.load.report import over_time

_CURVE_POINTS = 400
_NINES = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_DPI = 120


def save_run(run: Run, path: Path) -> None:
    """Draw a run into a PNG file; raise OSError."""
    mpl.use("Agg")
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_over_time(left, run)
    _draw_percentiles(right, run.stats.latencies)
    job = run.job
    load = f"{job.rate:,.0f} requests/s due" if job.rate else "closed loop"
    figure.suptitle(
        f"{job.connections} connections, {load}: {run.stats.events_per_s:,.0f} events/s"
    )
    figure.savefig(path, dpi=_DPI)


def _draw_over_time(axes: Axes, run: Run) -> None:
    points = over_time(run)
    seconds = [point["s"] for point in points]
    for name in ("p50", "p99", "max"):
        axes.plot(seconds, [point[name] for point in points], label=name, marker=".")
    axes.set(xlabel="seconds since the warm-up", ylabel="latency, ms", title="Latency over time")
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.grid(alpha=0.3)


def _draw_percentiles(axes: Axes, latencies: Histogram) -> None:
    """Draw latency over 1 / (1 - percentile), so that each nine takes the same room."""
    nines = max(1.0, np.log10(max(latencies.count, 10)))
    odds = np.logspace(0, nines, _CURVE_POINTS)
    axes.plot(odds, latencies.percentiles_ns(100 * (1 - 1 / odds)) / 1e6)
    ticks = [percent for percent in _NINES if 1 / (1 - percent / 100) <= 10**nines]
    axes.set_xscale("log")
    axes.set_xticks([1 / (1 - each / 100) for each in ticks], [f"{each:g} %" for each in ticks])
    axes.minorticks_off()
    axes.set(xlabel="percentile", ylabel="latency, ms", title="Percentiles")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
