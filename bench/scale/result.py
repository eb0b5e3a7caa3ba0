"""What runs with more and fewer workers found: medians, factors against the fewest, and targets."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from bench import machine
from bench.load.database import DURABLE_SETTINGS
from bench.scale.share import Share
from bench.targets import Bound

RATE: Final = "events_per_s"
SERVER_CPU: Final = "server_cpu_s_per_100k"
POSTGRES_CPU: Final = "postgres_cpu_s_per_100k"
SPREAD: Final = "spread"
BUSY_MAX: Final = 0.9
"""Of a core that client and Postgres share: beyond it a rate may be theirs."""
SHARE_USED_MIN: Final = 0.9
"""Of what the workers were given: below it they have waited for somebody else."""
SHARE_USED_MAX: Final = 1.1
"""Above it the throttle did not hold: something else moves them between control groups."""
CONNECTIONS: Final = 256
"""In all: the targets are meant for so many."""


class Connections(msgspec.Struct, frozen=True):
    """How many clients there are."""

    count: int
    per_worker: bool = False
    """Whether each worker has so many, or the server."""

    def of(self, workers: int) -> int:
        """Return how many a server of so many workers has."""
        return self.count * workers if self.per_worker else self.count

    def __str__(self) -> str:
        """Return it for a header."""
        return f"{self.count} connections {'for each worker' if self.per_worker else 'in all'}"


class ScaleRun(msgspec.Struct, frozen=True):
    """One run with one number of workers."""

    workers: int
    events_per_s: float
    server_cpu_s_per_100k: float
    """Of the workers."""
    supervisor_cpu_s_per_100k: float
    postgres_cpu_s_per_100k: float
    batch_events: float
    """In a COPY, on average."""
    connections: list[int]
    """Of each worker."""
    latency_ms: dict[str, float]
    """p50, p90, p99, p99.9, max."""
    share_used: float
    """Which part of what they were given the workers used: about 1, unless something else bound
    the run."""
    core_busy: float
    """Which share of the time the busiest core of client and Postgres was busy."""
    client_cpu_us_per_request: float
    void: list[str]
    """Why the run doesn't count; empty for a good one."""

    @property
    def spread(self) -> float:
        """Return how many connections the fullest worker has, against its even share."""
        total = sum(self.connections)
        return max(self.connections) * self.workers / total if total else 0.0


class Target(msgspec.Struct, frozen=True):
    """What is to be reached by one number of workers."""

    figure: str
    workers: int
    bound: Bound
    is_factor: bool
    """Whether the figure is divided by that of one worker."""

    @property
    def label(self) -> str:
        """Return what is measured."""
        named = {
            RATE: "events/s",
            SERVER_CPU: "CPU an event, workers",
            POSTGRES_CPU: "CPU an event, Postgres",
            SPREAD: "connections, fullest / even share",
        }
        return named[self.figure] + (", of one worker's" if self.is_factor else "")


TARGETS: Final = (
    Target(RATE, 4, Bound("at least", 3.6), is_factor=True),
    Target(RATE, 8, Bound("at least", 6.5), is_factor=True),
    Target(SERVER_CPU, 4, Bound("at most", 1.15), is_factor=True),
    Target(POSTGRES_CPU, 4, Bound("at most", 1.4), is_factor=True),
    Target(SPREAD, 4, Bound("at most", 1.2), is_factor=False),
)


class Scale:
    """All runs, and how those of more workers compare with those of one."""

    def __init__(
        self,
        runs: Sequence[ScaleRun],
        connections: Connections,
        share: Share,
        throttle: str,
        settings: Mapping[str, str],
    ) -> None:
        self.runs = runs
        self.connections = connections
        self.share = share
        """What each worker had."""
        self.throttle = throttle
        """How it was held to it."""
        self._settings = dict(settings)
        self.counts = sorted({run.workers for run in runs})
        """The numbers of workers."""

    @property
    def void(self) -> list[str]:
        """Return a line for each run that doesn't count, and for settings that void them all."""
        not_durable = [
            f"all: {name} is {self._settings.get(name)}"
            for name in DURABLE_SETTINGS
            if self._settings.get(name) != "on"
        ]
        return not_durable + [
            f"{run.workers} workers: {'; '.join(run.void)}" for run in self.runs if run.void
        ]

    def median(self, workers: int, figure: Callable[[ScaleRun], float]) -> float | None:
        """Return the median of a figure over the runs that count; None if there are none."""
        values = [figure(run) for run in self.runs if run.workers == workers and not run.void]
        return statistics.median(values) if values else None

    def latency_ms(self, workers: int, percentile: str) -> float | None:
        """Return the median of a percentile, such as `p99`."""
        return self.median(workers, lambda run: run.latency_ms[percentile])

    def factor(self, workers: int, figure: str) -> float | None:
        """Return a figure of so many workers divided by that of one; None without either."""
        many, one = (self.named(each, figure) for each in (workers, 1))
        return many / one if many is not None and one else None

    def named(self, workers: int, figure: str) -> float | None:
        """Return the median of a figure by its name."""
        return self.median(workers, lambda run: float(getattr(run, figure)))

    def bounds(self, workers: int) -> list[str]:
        """Return what else than their share may have been the limit of so many workers."""
        busy, used = (self.named(workers, each) for each in ("core_busy", "share_used"))
        found = []
        if busy is not None and busy > BUSY_MAX:
            found.append(f"client and Postgres kept their core busy, {busy:.0%}")
        if used is not None and used < SHARE_USED_MIN:
            found.append(f"the workers used {used:.0%} of their share")
        if used is not None and used > SHARE_USED_MAX:
            found.append(f"the workers were not held to their share, they used {used:.0%} of it")
        return found

    def reached(self) -> list[tuple[Target, float | None]]:
        """Return every target whose numbers of workers took part, and what was measured."""
        return [
            (target, measure(target.workers, target.figure))
            for target in TARGETS
            if {target.workers, 1} <= {*self.counts} and self.connections.count == CONNECTIONS
            for measure in (self.factor if target.is_factor else self.named,)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return medians, factors, targets and all runs."""
        return {
            "machine": machine.describe(),
            "postgres": self._settings,
            "throttle": self.throttle,
            "share": self.share._asdict(),
            "connections": msgspec.to_builtins(self.connections),
            "by_workers": [self._medians(workers) for workers in self.counts],
            "targets": [
                {
                    "target": target.label,
                    "workers": target.workers,
                    "measured": measured,
                    "bound": str(target.bound),
                    "is_reached": target.bound.admits(measured),
                }
                for target, measured in self.reached()
            ],
            "void": self.void,
            "runs": msgspec.to_builtins(self.runs),
        }

    def _medians(self, workers: int) -> dict[str, Any]:
        named = (RATE, SERVER_CPU, "supervisor_cpu_s_per_100k", POSTGRES_CPU, "batch_events")
        return {
            "workers": workers,
            **{each: self.named(workers, each) for each in (*named, SPREAD, "share_used")},
            **{f"{each}_ms": self.latency_ms(workers, each) for each in ("p50", "p99")},
            "factor": self.factor(workers, RATE),
            "may_be_bound_by": self.bounds(workers),
        }
