"""What a run of `outage` found: what it is held to, why it does not count, and all as JSON."""

from typing import Any, Final, NamedTuple

import msgspec

from bench import machine
from bench.load.plan import is_success
from bench.outage.senders import Answers
from bench.targets import Bound, Target

KILL_TO_202_S_MAX: Final = 0.1
HANG_TO_202_S_MAX: Final = 0.1
"""Beyond the time-out for a commit."""
P99_MS_MAX: Final = 50.0
REPLAY_TO_INGEST: Final = Bound("at least", 5.0)
_SPOOLED: Final = 202
_COMMITTED: Final = 200


class Times(NamedTuple):
    """When an outage took its turns, on the clock of the load client."""

    struck_s: float
    """When Postgres was taken away."""
    caught_up_s: float
    """When nobody waited any more for one of the senders' connections."""
    mended_s: float
    """When Postgres was told to start, or to go on."""
    ready_s: float
    """When it took connections."""


class Outage(msgspec.Struct, frozen=True):
    """What senders saw of one outage; times from when it began or ended."""

    first_202_s: float | None
    caught_up_s: float
    """Until the requests had been sent that had to wait for a connection of the senders'."""
    seconds: float
    """From its beginning until Postgres was told to start, or to go on."""
    statuses: dict[int, int]
    """Answers that came in this time."""
    before_ms: dict[str, float]
    """p50, p90, p99, p99.9 and max of what was answered before it."""
    during_ms: dict[str, float]
    """Latencies of all that was on its way when it began, or due before it ended."""
    settled_ms: dict[str, float]
    """Latencies of what was due once the senders had caught up."""
    ready_s: float
    """How long Postgres took until it took connections."""
    first_200_s: float | None
    """From when it was told to start, or to go on, until the first 200."""


class Drain(msgspec.Struct, frozen=True):
    """How the spool was filled, and drained."""

    spooled: int
    """Events, all without Postgres."""
    spool_bytes: int
    fill_per_s: float
    """Events a second, in a closed loop."""
    seconds: float
    """From when the server saw Postgres again until the spool was empty, to within 50 ms."""

    @property
    def per_s(self) -> float:
        """Return how many events a second were replayed."""
        return self.spooled / self.seconds if self.seconds else 0.0


class OutageResult(msgspec.Struct, frozen=True):
    """A whole run."""

    connections: int
    rate_per_s: float
    """Of the senders whom the outages met."""
    commit_timeout_s: float
    ingest_per_s: float
    """Events a second in a closed loop, each answered after its commit."""
    killed: Outage
    hung: Outage
    drain: Drain
    statuses: dict[int, int]
    """All answers of the run."""
    unanswered: int
    """Requests without an answer."""
    stored: int
    """Rows in Postgres at the end."""
    faults: dict[str, int]
    """What of the acknowledged events is not there once, and as it was sent; empty when all is."""

    @property
    def acknowledged(self) -> int:
        """Return how many events were acknowledged."""
        return sum(n for status, n in self.statuses.items() if is_success(status))

    @property
    def replay_to_ingest(self) -> float:
        """Return how many times faster the spool is drained than events come in."""
        return self.drain.per_s / self.ingest_per_s if self.ingest_per_s else 0.0

    @property
    def void(self) -> list[str]:
        """Return why this doesn't count; empty when it does."""
        found = [f"{n:,} {name.replace('_', ' ')}" for name, n in self.faults.items()]
        beyond = self.stored - self.acknowledged
        if not 0 <= beyond <= self.unanswered:  # nobody knows of these
            found.append(f"{self.acknowledged:,} acknowledged, {self.stored:,} rows")
        return found

    @property
    def targets(self) -> list[Target]:
        """Return every target and what came of it."""
        hang_s_max = self.commit_timeout_s + HANG_TO_202_S_MAX
        wrong = sum(n for status, n in self.statuses.items() if not _is_allowed(status))
        ratio = self.replay_to_ingest
        return [
            _soon("Postgres killed: the first 202", self.killed.first_202_s, KILL_TO_202_S_MAX),
            _quick("Postgres killed: p99 from then on", self.killed.during_ms["p99"]),
            _soon("Postgres hung: the first 202", self.hung.first_202_s, hang_s_max),
            _quick("Postgres hung: p99 after the time-out", self.hung.settled_ms["p99"]),
            Target("answers but 200 and 202", f"{wrong:,}", wrong == 0, "none"),
            Target("requests unanswered", f"{self.unanswered:,}", self.unanswered == 0, "none"),
            Target(
                "events/s: replay / ingest",
                f"{ratio:.2f}",
                REPLAY_TO_INGEST.admits(ratio),
                str(REPLAY_TO_INGEST),
            ),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": machine.describe(),
            **msgspec.to_builtins(self, str_keys=True),
            "acknowledged": self.acknowledged,
            "replay_per_s": self.drain.per_s,
            "replay_to_ingest": self.replay_to_ingest,
            "targets": [_as_json(each) for each in self.targets],
            "void": self.void,
        }


def describe(answers: Answers, times: Times) -> Outage:
    """Return what senders saw."""
    struck_s, mended_s = times.struck_s, times.mended_s
    is_due = answers.due_s < mended_s
    return Outage(
        first_202_s=_since(struck_s, answers.first(_SPOOLED, struck_s)),
        caught_up_s=times.caught_up_s - struck_s,
        seconds=mended_s - struck_s,
        statuses=answers.counted(struck_s, mended_s),
        before_ms=answers.latency_ms(answers.answered_s < struck_s),
        during_ms=answers.latency_ms((answers.answered_s >= struck_s) & is_due),
        settled_ms=answers.latency_ms((answers.due_s >= times.caught_up_s) & is_due),
        ready_s=times.ready_s - mended_s,
        first_200_s=_since(mended_s, answers.first(_COMMITTED, mended_s)),
    )


def _as_json(target: Target) -> dict[str, Any]:
    return {
        "target": target.name,
        "wanted": target.wanted,
        "seen": target.measured,
        "is_reached": target.is_reached,
    }


def _soon(name: str, seen_s: float | None, seconds_max: float) -> Target:
    seen = "never" if seen_s is None else f"{seen_s * 1000:,.1f} ms"
    is_reached = seen_s is not None and seen_s <= seconds_max
    return Target(name, seen, is_reached, f"within {seconds_max * 1000:,.0f} ms")


def _quick(name: str, seen_ms: float) -> Target:
    wanted = f"at most {P99_MS_MAX:g} ms"
    return Target(name, f"{seen_ms:,.1f} ms", seen_ms <= P99_MS_MAX, wanted)


def _since(begin_s: float, end_s: float | None) -> float | None:
    return None if end_s is None else end_s - begin_s


def _is_allowed(status: int) -> bool:
    return status in {_COMMITTED, _SPOOLED}
