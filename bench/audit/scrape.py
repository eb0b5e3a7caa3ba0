"""Scrapes of `/metrics` while the faults go on: whether the books balance, and the memory.

Counters start anew with each supervisor, and go on when a worker dies. At every scrape::

    accepted = committed + spooled + failed + in the queue + left there = accepted, by app
    in the spool = spooled + recovered - replayed - set aside - left there

where `failed` are events that were refused after they had been accepted, `recovered` what another
process had left in the spool, and `left` what a worker had that ended.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bench import metrics
from bench.audit.node import Node
from bench.audit.recorder import Recorder
from bench.metrics import Samples

INTERVAL_S: Final = 0.2
SPOOL_FULL: Final = "spool-full"
"""No fault of the nemesis's: the spool may fill by itself, and then a 503 is the right answer."""
_TIMEOUT_S: Final = 2.0
_SHOWN_MAX: Final = 5
_COUNTERS: Final = ("_total", "_bucket", "_count", "_sum")
_EQUATIONS: Final = (
    (
        "events_accepted_total",
        {
            "events_committed_total": 1,
            "events_spooled_total": 1,
            "events_failed_total": 1,
            "events_duplicate_total": 1,
            "queue_events": 1,
            'events_left_total{place="queue"}': 1,
        },
    ),
    ("events_accepted_total", {"app_events_accepted_total": 1}),
    (
        "spool_events",
        {
            "events_spooled_total": 1,
            "events_recovered_total": 1,
            "events_replayed_total": -1,
            "events_dead_lettered_total": -1,
            "events_damaged_total": -1,
            'events_left_total{place="spool"}': -1,
        },
    ),
)


class Waiting(NamedTuple):
    """What waits at a server."""

    spool_events: float
    queue_events: float


@dataclass
class Scrapes:
    """What all scrapes of all servers together found."""

    count: int = 0
    unbalanced: int = 0
    shown: list[str] = field(default_factory=list)
    fallen: list[str] = field(default_factory=list)
    """Counters that went down, at most a few of each scrape."""
    rss_bytes_max: int = 0
    spool_bytes_max: float = 0.0
    waiting: dict[int, Waiting] = field(default_factory=dict)
    """By server, as it said last."""

    @property
    def spool_events(self) -> float:
        """Events in all spools."""
        return sum(each.spool_events for each in self.waiting.values())

    @property
    def queue_events(self) -> float:
        """Events in all queues."""
        return sum(each.queue_events for each in self.waiting.values())


class Scraper:
    """Asks one server again and again; one that is away is no finding."""

    def __init__(self, node: Node, recorder: Recorder, found: Scrapes) -> None:
        self._node = node
        self._server = node.server
        self._recorder = recorder
        self._found = found
        self._is_spool_full = False
        self._asking = asyncio.Lock()
        """One after the other, so that counters can be compared."""
        self._life = 0
        self._before: Samples = {}
        """What was found last, in this life."""

    async def watch(self) -> None:
        """Scrape for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self._look_at_spool()
            await self.scrape()

    def _look_at_spool(self) -> None:
        """Note from when to when the spool is full, by what lies on its disk."""
        is_full = self._node.spool.is_full()
        if is_full != self._is_spool_full:
            self._is_spool_full = is_full
            what = "begun" if is_full else "ended"
            self._recorder.fault(SPOOL_FULL, what, self._node.number)

    async def is_empty(self) -> bool:
        """Whether the server says that nothing waits there, and its disk says so, too."""
        samples = await self.scrape()
        if not samples or samples.get("spool_events") or samples.get("queue_events"):
            return False
        if left := await asyncio.to_thread(self._node.spool.left):
            self._recorder.note(f"the spool is said to be empty, but {left} are on the disk")
        return not left

    async def scrape(self) -> Samples | None:
        """Scrape once; return the samples, or None when there was no answer."""
        async with self._asking:
            return await self._scrape()

    async def _scrape(self) -> Samples | None:
        life, pid, is_up = self._server.starts, self._server.pid, self._server.is_up
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                samples = metrics.parse(await _get(self._server.port, "/metrics"))
        except (OSError, asyncio.IncompleteReadError, ValueError):
            return None
        if not samples or life != self._server.starts or pid != self._server.pid:
            return None
        self._take(samples)
        if is_up:  # or it was one of the server before that answered
            self._compare(samples, life)
        return samples

    def _compare(self, samples: Samples, life: int) -> None:
        """Note what has gone down since the last scrape of the same server."""
        before = self._before if life == self._life else {}
        self._life, self._before = life, samples
        if (text := fallen(before, samples)) and len(self._found.fallen) < _SHOWN_MAX:
            self._found.fallen.append(text)

    def _take(self, samples: Samples) -> None:
        found = self._found
        found.count += 1
        found.waiting[self._node.number] = Waiting(
            samples.get("spool_events", 0.0), samples.get("queue_events", 0.0)
        )
        found.spool_bytes_max = max(found.spool_bytes_max, samples.get("spool_bytes", 0.0))
        found.rss_bytes_max = max(found.rss_bytes_max, self._server.rss_bytes())
        if wrong := imbalance(samples):
            found.unbalanced += 1
            if len(found.shown) < _SHOWN_MAX:
                found.shown.append(wrong)


def imbalance(samples: Samples) -> str:
    """Return how the books do not balance; empty when they do."""
    for whole, parts in _EQUATIONS:
        left = _value(samples, whole)
        right = sum(sign * _value(samples, name) for name, sign in parts.items())
        if left != right:
            shown = ", ".join(f"{name} {_value(samples, name):.0f}" for name in (whole, *parts))
            return f"{whole} is off by {left - right:.0f}: {shown}"
    return ""


def fallen(before: Samples, samples: Samples) -> str:
    """Return which counter has gone down since; empty if none has."""
    down = [
        name
        for name, value in before.items()
        if _is_counter(name) and samples.get(name, 0.0) < value
    ]
    if not down:
        return ""
    name = down[0]
    shown = f"{name} went from {before[name]:.0f} to {samples.get(name, 0.0):.0f}"
    return f"{shown}; {len(down)} in all went down"


def _is_counter(name: str) -> bool:
    return name.partition("{")[0].endswith(_COUNTERS)


def _value(samples: Samples, name: str) -> float:
    """Return what a metric says, whatever its labels."""
    labelled = (value for each, value in samples.items() if each.startswith(f"{name}{{"))
    return samples.get(name, 0.0) + sum(labelled)


async def _get(port: int, path: str) -> bytes:
    """Return a body; raise OSError, ValueError or IncompleteReadError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        )
        answer = await reader.read()
        while chunk := await reader.read():
            answer += chunk
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"GET {path}: {head[:100]!r}")
    return body
