"""What a run of `outage` found: the table, the targets, and all of it as JSON."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.outage_load import Answers
from bench.plan import is_success

KILL_TO_202_S_MAX: Final = 0.1
HANG_TO_202_S_MAX: Final = 0.1
"""Beyond the time-out for a commit."""
P99_MS_MAX: Final = 50.0
REPLAY_TO_INGEST_MIN: Final = 5.0
_SPOOLED: Final = 202
_COMMITTED: Final = 200
_LATENCIES: Final = ("p50", "p99", "max")


class Verdict(NamedTuple):
    """A target and what came of it."""

    target: str
    wanted: str
    seen: str
    is_reached: bool


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
    """The same of all that was on its way when it began, or due before it ended."""
    settled_ms: dict[str, float]
    """Of this, what was due once the senders had caught up."""
    ready_s: float
    """How long Postgres took until it took connections."""
    first_200_s: float | None
    """The same until the first 200."""


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


class Found(msgspec.Struct, frozen=True):
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
    def verdicts(self) -> list[Verdict]:
        """Return every target and what came of it."""
        hang_s_max = self.commit_timeout_s + HANG_TO_202_S_MAX
        wrong = sum(n for status, n in self.statuses.items() if not _is_allowed(status))
        ratio = self.replay_to_ingest
        return [
            _soon("Postgres killed: the first 202", self.killed.first_202_s, KILL_TO_202_S_MAX),
            _quick("Postgres killed: p99 from then on", self.killed.during_ms["p99"]),
            _soon("Postgres hung: the first 202", self.hung.first_202_s, hang_s_max),
            _quick("Postgres hung: p99 after the time-out", self.hung.settled_ms["p99"]),
            Verdict("answers but 200 and 202", "none", f"{wrong:,}", wrong == 0),
            Verdict("requests unanswered", "none", f"{self.unanswered:,}", self.unanswered == 0),
            Verdict(
                "events/s: replay / ingest",
                f"at least {REPLAY_TO_INGEST_MIN:g}",
                f"{ratio:.2f}",
                ratio >= REPLAY_TO_INGEST_MIN,
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
            "targets": [each._asdict() for each in self.verdicts],
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


def show(console: Console, found: Found) -> None:
    """Print both outages, the replay, the targets, or why there are no verdicts."""
    title = f"{found.connections} connections, {found.rate_per_s:,.0f} requests/s"
    table = Table(title=title, box=SIMPLE)
    table.add_column("Postgres")
    for name in ("first 202 ms", *(f"{name} ms" for name in _LATENCIES), "first 200 after, s"):
        table.add_column(name, justify="right")
    table.add_column("answers meanwhile")
    for label, outage in (("killed", found.killed), ("hung", found.hung)):
        for row in _rows(label, outage):
            table.add_row(*row)
    console.print(table)
    drain = found.drain
    console.print(
        f"ingest {found.ingest_per_s:,.0f} events/s; without Postgres {drain.fill_per_s:,.0f}; "
        f"replay [bold]{drain.per_s:,.0f}[/bold] ({drain.spooled:,} events, "
        f"{drain.spool_bytes / 1e6:,.0f} MB)"
    )
    for line in found.void:
        console.print(f"[bold red]VOID[/bold red] {line}")
    if not found.void:
        console.print(f"{found.acknowledged:,} acknowledged events are in Postgres, each once")
        console.print(_targets_table(found.verdicts))


def _rows(label: str, outage: Outage) -> list[list[str]]:
    """Return the rows of an outage: before it, during it, and once the senders had caught up."""
    statuses = "  ".join(f"{status}: {n:,}" for status, n in sorted(outage.statuses.items()))
    first_202 = "none" if outage.first_202_s is None else f"{outage.first_202_s * 1000:,.1f}"
    first_200 = "none" if outage.first_200_s is None else f"{outage.first_200_s:.2f}"
    settled = f"{label}, from {outage.caught_up_s:.2f} s on"
    return [
        [f"before it is {label}", "", *_latencies(outage.before_ms), "", ""],
        [label, first_202, *_latencies(outage.during_ms), first_200, statuses],
        [settled, "", *_latencies(outage.settled_ms), "", ""],
    ]


def _latencies(latency_ms: dict[str, float]) -> list[str]:
    return [f"{latency_ms[name]:,.2f}" for name in _LATENCIES]


def _targets_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="Targets", box=SIMPLE)
    for name in ("", "wanted", "seen", ""):
        table.add_column(name)
    for each in verdicts:
        verdict = "[green]passed" if each.is_reached else "[red]missed"
        table.add_row(each.target, each.wanted, each.seen, verdict)
    return table


def _soon(target: str, seen_s: float | None, seconds_max: float) -> Verdict:
    seen = "never" if seen_s is None else f"{seen_s * 1000:,.1f} ms"
    is_reached = seen_s is not None and seen_s <= seconds_max
    return Verdict(target, f"within {seconds_max * 1000:,.0f} ms", seen, is_reached)


def _quick(target: str, seen_ms: float) -> Verdict:
    return Verdict(
        target, f"at most {P99_MS_MAX:g} ms", f"{seen_ms:,.1f} ms", seen_ms <= P99_MS_MAX
    )


def _since(begin_s: float, end_s: float | None) -> float | None:
    return None if end_s is None else end_s - begin_s


def _is_allowed(status: int) -> bool:
    return status in {_COMMITTED, _SPOOLED}
