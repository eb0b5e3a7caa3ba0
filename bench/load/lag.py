"""The client's own lag: how much of a latency is the client's, and when that is too much."""

from typing import Final

from bench.load.histogram import Histogram
from bench.load.plan import Stats

SHARE_MAX: Final = 0.25
"""The client's p99 to the latency's p99; above it the latency is no figure of the server."""
_PERCENT: Final = 99.0


def lag_ms(lags: Histogram) -> dict[str, float]:
    """Return p50, p99 and max in milliseconds."""
    named = {f"p{percent}": lags.percentile_ns(percent) / 1e6 for percent in (50, 99)}
    return named | {"max": lags.max_ns / 1e6}


def is_clients(stats: Stats) -> bool:
    """Return whether the client was late so often that the run measured the client."""
    lag_ns = stats.lags.percentile_ns(_PERCENT)
    return lag_ns > SHARE_MAX * stats.latencies.percentile_ns(_PERCENT)


def notice(stats: Stats) -> str:
    """Return what to say of such a run; nothing of another."""
    if not is_clients(stats):
        return ""
    lag, took = (each.percentile_ns(_PERCENT) / 1e6 for each in (stats.lags, stats.latencies))
    return (
        f"this run measured the client: at p99 it sent {lag:.2f} ms late, "
        f"of a latency of {took:.2f} ms"
    )
