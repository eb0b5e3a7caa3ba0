"""What a kind of peer costs the others, and the targets that this is held to."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bench import console, machine
from bench.hostile.peer import Deeds
from bench.targets import Target

SETTINGS: Final = {
    "limits.head_timeout_s": 2,
    "limits.body_timeout_s": 2,
    "limits.idle_timeout_s": 3,
}
"""The server's, short enough for five seconds to see them; other limits have their defaults."""
P99_MS_MAX: Final = 50.0
FLOODS: Final = ("floods", "batch-floods", "async-floods")
"""Kinds of which the sender is another app."""
RSS_GROWTH_BYTES_MAX: Final = 100_000_000
_OK: Final = 200


class Impact(msgspec.Struct, frozen=True):
    """What one kind of peer did, and what it cost the others."""

    kind: str
    peers: int
    deeds: Deeds
    bystander_ms: dict[str, float]
    """Latencies of `/healthz`: p50, p90, p99, p99.9, max."""
    sender_ms: dict[str, float]
    """Latencies of single events, which also wait for Postgres."""
    bystander_statuses: dict[int, int]
    sender_statuses: dict[int, int]
    unanswered: int
    """Requests of bystander and sender that got no answer."""
    rss_before_bytes: int
    rss_growth_bytes: int
    """How far it rose above that while the peers were there, at most."""

    @property
    def targets(self) -> list[Target]:
        """Return every target of this kind, and what came of it."""
        p99_ms, growth, deeds = self.bystander_ms["p99"], self.rss_growth_bytes, self.deeds
        answers = console.statuses(self.bystander_statuses), console.statuses(self.sender_statuses)
        only_200s = {*self.bystander_statuses} == {*self.sender_statuses} == {_OK}
        reached = [
            Target("bystander's p99 below 50 ms", f"{p99_ms:.1f}", p99_ms < P99_MS_MAX),
            Target(
                "memory grows by less than 100 MB",
                f"{growth / 1e6:.1f}",
                growth < RSS_GROWTH_BYTES_MAX,
            ),
            Target(
                "bystander and sender get 200s only",
                f"{' and '.join(answers)}, {self.unanswered} unanswered",
                only_200s and not self.unanswered,
            ),
        ]
        if self.kind in FLOODS:
            sender_ms = self.sender_ms["p99"]
            reached.append(
                Target("sender's p99 below 50 ms", f"{sender_ms:.1f}", sender_ms < P99_MS_MAX)
            )
        if self.kind == "half-closers":
            every = 0 < deeds.half_closed == deeds.half_closed_answered
            counts = f"{deeds.half_closed_answered:,} of {deeds.half_closed:,}"
            reached.append(Target("every half-closer is answered", counts, every))
        if self.kind == "slow-readers":
            counts = f"{deeds.cut_off:,} of {deeds.sipped:,} cut off"
            every = deeds.sipped > 0 and not deeds.cut_off
            reached.append(Target("every slow reader is served", counts, every))
        return reached


def as_json(impacts: Sequence[Impact], seconds: float, workers: int) -> dict[str, Any]:
    """Return everything; latencies in milliseconds."""
    return {
        "machine": machine.describe(),
        "seconds": seconds,
        "workers": workers,
        "settings": SETTINGS,
        "kinds": [
            msgspec.to_builtins(each, str_keys=True) | {"verdicts": _verdicts(each)}
            for each in impacts
        ],
    }


def _verdicts(impact: Impact) -> list[dict[str, Any]]:
    return [
        {"target": each.name, "measured": each.measured, "is_reached": each.is_reached}
        for each in impact.targets
    ]
