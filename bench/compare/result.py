"""What one trial of a comparison found."""

import msgspec


class TrialResult(msgspec.Struct, frozen=True):
    """What one trial found."""

    events_per_s: float
    server_cpu_s_per_100k: float
    """For the COPY alone: the client's, which stands in the server's place."""
    postgres_cpu_s_per_100k: float
    latency_ms: dict[str, float]
    """p50, p90, p99, p99.9, max of a request; empty for the COPY alone."""
    server_rss_bytes: int
    client_cpu_us_per_request: float
    void: list[str]
    """Why the trial doesn't count; empty for a good one."""
    sender: str = ""
    """Empty for the COPY alone, which nobody sends."""
    sending_core_busy: float = 0.0
    """Which share of the time the core was busy that the sender ran on, and Postgres too."""
    client_core_share: float = 0.0
    """Which share of a core the sender itself took."""
