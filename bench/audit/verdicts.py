"""The invariants by name, and the verdict on each."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bench.audit.findings import Findings
from bench.audit.scrape import Scrapes

RSS_BYTES_MAX: Final = 300_000_000
FRESH_S_MAX: Final = 2.0
DRAIN_S_MAX: Final = 60.0

INVARIANTS: Final = {
    "stored-once": "every acknowledged event is stored exactly once, under its id",
    "loss-told": "what the audit's own damage costs is counted, and kept for a person",
    "retries-told": "an event that is sent again is answered with the row that is stored",
    "early-kept": "an event that was acknowledged early is lost by a crash or a full disk alone",
    "as-sent": "every stored event is as it was sent, at the time that was told",
    "nothing-else": "nothing is stored that was not sent",
    "refused-absent": "nothing is stored that was refused",
    "answers-belong": "every answer belongs to its request",
    "good-never-refused": "no good event is refused",
    "bad-refused": "every bad event is refused, with its code",
    "no-5xx": "no 5xx while the spool has room",
    "always-answered": "every request is answered while the server lives",
    "none-held-up": "events that Postgres refuses hold up no others",
    "spool-drains": "the spool drains within a minute of the last fault",
    "fresh-event": "a fresh event is acknowledged and visible within 2 s of the last fault",
    "books-balance": "the books balance at every scrape",
    "counters-grow": "no counter goes down while the server lives, whichever of its workers die",
    "memory-bounded": "each process of the server stays below 300 MB",
    "stays-up": "the server and its workers end when they are told to, and only then",
    "staffed": "a worker that ends is replaced in seconds, and none outlives its supervisor",
    "asked-exactly": "no answer counts an event twice, or misses one acknowledged with 200 before",
    "archive-true": "nonito archive verify finds no difference",
    "archive-kept": "the archive is begun anew only where its files were taken away",
    "archive-goes-on": "a minute after the last fault all is archived, and questions are answered",
    "keys-followed": "a key that is made or revoked counts so at every server within 10 s",
    "handed-over": "nobody waits for a worker to be replaced at SIGHUP",
}
TABLE: Final = frozenset(
    {
        "stored-once",
        "loss-told",
        "retries-told",
        "early-kept",
        "as-sent",
        "nothing-else",
        "refused-absent",
    }
)
"""The invariants that can't be judged while events may still come out of the spool."""
SEVERAL: Final = frozenset({"keys-followed"})
"""The invariants of several servers."""
ARCHIVE: Final = frozenset({"asked-exactly", "archive-true", "archive-kept", "archive-goes-on"})
"""The invariants of a server that keeps an archive."""


@dataclass
class Observed:
    """What was seen while the run went on, beside the history."""

    scrapes: Scrapes
    is_drained: bool = False
    drain_s: float = 0.0
    """From the last fault's end until the spool was empty, or until it was given up."""
    fresh_s: float | None = None
    """From the last fault's end to a fresh event's row; None when it took too long."""
    ends: list[str] = field(default_factory=list)
    """Of servers that ended by themselves, or badly."""
    archive: list[tuple[str, str]] | None = None
    """What is wrong with the archive: an invariant, and how. None for a server without one."""
    servers: int = 1


class Verdict(NamedTuple):
    """What came of one invariant."""

    invariant: str
    is_kept: bool | None
    """None when it was not judged."""
    found: int
    shown: list[str]


def reach(findings: Findings, observed: Observed) -> list[Verdict]:
    """Return the verdict on every invariant."""
    for invariant, text in _observations(observed):
        findings.add(invariant, text)
    verdicts = []
    for invariant in INVARIANTS:
        if observed.archive is None and invariant in ARCHIVE:
            continue
        if observed.servers == 1 and invariant in SEVERAL:
            continue
        count = findings.counts[invariant]
        is_kept: bool | None = not count
        if not count and invariant in TABLE and not observed.is_drained:
            is_kept = None
        verdicts.append(Verdict(invariant, is_kept, count, findings.shown.get(invariant, [])))
    return verdicts


def _observations(observed: Observed) -> list[tuple[str, str]]:
    scrapes = observed.scrapes
    found = [("stays-up", text) for text in observed.ends]
    found += [("books-balance", text) for text in scrapes.shown]
    found += [("counters-grow", text) for text in scrapes.fallen]
    found += observed.archive or []
    if not scrapes.count:
        found.append(("books-balance", "nothing could be scraped"))
    if not observed.is_drained:
        left = f"{scrapes.spool_events:.0f} events in the spool, {scrapes.queue_events:.0f} queued"
        found.append(("spool-drains", f"{left} after {observed.drain_s:.0f} s"))
    elif observed.drain_s > DRAIN_S_MAX:
        found.append(("spool-drains", f"in {observed.drain_s:.0f} s"))
    if observed.fresh_s is None or observed.fresh_s > FRESH_S_MAX:
        took = "never" if observed.fresh_s is None else f"{observed.fresh_s:.1f} s"
        found.append(("fresh-event", took))
    if scrapes.rss_bytes_max > RSS_BYTES_MAX:
        found.append(("memory-bounded", f"{scrapes.rss_bytes_max / 1e6:.0f} MB"))
    return found
