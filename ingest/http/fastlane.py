"""The fast lane: plain `POST /event` requests, served without aiohttp.

aiohttp costs about 40 µs a request, a bare protocol on uvloop 8 µs, most of it the kernel's. So
this protocol stands in front of aiohttp's. Of a request's form it **accepts or defers, it never
refuses**: the first thing on a connection that is not of the form below goes to aiohttp with every
byte, and the connection stays there. There is one HTTP parser to trust, not two: nothing that
aiohttp would refuse, or understand in another way, is accepted here. An event that the intake
refuses is answered here, as aiohttp's lane would: one bad event must not slow down a connection
that a proxy shares between many clients. So is one over a limit, by bytes that are made once a
second.

What is accepted is written out in `head.py`. Clients repeat their head byte for byte, so a head
that was accepted is looked up, not parsed, as long as the keys have not changed. An incomplete
request is held for one sweep at most (1 to 2 s) or PIECES_MAX pieces; then it is aiohttp's, with
its time-outs. Each connection is one of `fast_connection.py`.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ingest.config import Limits
from ingest.delivery.intake import Intake
from ingest.errors import Refusal
from ingest.http import cors
from ingest.http.budget import Budget
from ingest.http.head import Head, parse
from ingest.http.request_id import REQUEST_ID
from ingest.http.request_log import RequestLog
from ingest.http.responses import head_raw, refuse_raw
from ingest.metering.meter import Allowance
from ingest.observe.metrics import Metrics
from ingest.store.keyring import Keyring

if TYPE_CHECKING:
    from ingest.http.fast_connection import FastConnection

HEADS_MAX: Final = 4096
"""How many heads are remembered; with HEAD_BYTES_MAX a bound of 16 MiB."""


class _Heads(dict[bytes, Head | None]):
    """The heads that are remembered; one that is not is learnt, in one look-up."""

    def __init__(self, learn: Callable[[bytes], Head | None]) -> None:
        super().__init__()
        self._learn = learn

    def __missing__(self, head: bytes) -> Head | None:
        return self._learn(head)


class _Over:
    """What a sender over its limit is told in this second."""

    __slots__ = ("answer", "count", "refusal")

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.answer = refuse_raw(refusal, is_last=False)
        self.count = 0
        """So many times it was told so."""


class _Overs(dict[Allowance, _Over]):
    """What senders over their limits are told, made when the first one of a second is."""

    def __missing__(self, allowance: Allowance) -> _Over:
        found = self[allowance] = _Over(allowance.refusal())
        return found


class FastLane:
    """What the fast connections of one process share."""

    def __init__(
        self,
        intake: Intake,
        keyring: Keyring,
        metrics: Metrics,
        make_successor: Callable[[], asyncio.Protocol],
        budget: Budget,
        limits: Limits,
    ) -> None:
        self.intake = intake
        self.keyring = keyring
        self.metrics = metrics
        self.make_successor = make_successor
        self.budget = budget
        self.requests = RequestLog()
        """What it logs of them; `log_to` gives it another one."""
        self.connections: set[FastConnection] = set()
        self.heads = _Heads(self.learn)
        self.overs = _Overs()
        self.is_stopping = False
        self.now_s = 0.0
        """A coarse clock, set by `sweep`, so that a request reads none."""
        self.success_head = b""
        """A 200's head up to its length; its Date is set by `sweep`."""
        self.exposing_head = b""
        """The head of a 200 that repeats an id, up to its length; its Date is set by `sweep`."""
        self._idle_timeout_s = limits.idle_timeout_s
        self._body_bytes_max = limits.body_bytes_max
        keyring.on_change(self.heads.clear)
        self.sweep()

    def sweep(self) -> None:
        """Once a second: set the clock, close what is idle, hand over what is slow."""
        last_s, self.now_s = self.now_s, time.monotonic()
        self.success_head = head_raw(200, cors.ANY_ORIGIN)
        self.exposing_head = head_raw(200, cors.headers_for({REQUEST_ID: ""}))
        self._note_overs()
        if self.keyring.has_expiring or self.requests.is_on:
            self.heads.clear()
        for connection in list(self.connections):
            connection.sweep(last_s, self.now_s - self._idle_timeout_s)

    def _note_overs(self) -> None:
        """Note of those over their limits what they were told; it changes every second."""
        for allowance, over in self.overs.items():
            self.metrics.latest_refusals.note(over.refusal, allowance.app_id, over.count)
        self.overs.clear()

    def stop(self) -> None:
        """From now on close every connection behind its answer."""
        self.is_stopping = True

    def hand_over_incomplete(self) -> None:
        """Let aiohttp wait for the rest of every request that has begun."""
        for connection in list(self.connections):
            connection.hand_over_incomplete()

    def log_to(self, requests: RequestLog) -> None:
        """Log requests there."""
        self.requests = requests

    def success(self, answer: bytes, request_id: str) -> bytes:
        """Return a 200 that repeats an id, if there is one."""
        if not request_id:
            return b"%b%d\r\n\r\n%b" % (self.success_head, len(answer), answer)
        name, value = REQUEST_ID.encode(), request_id.encode()
        parts = (self.exposing_head, len(answer), name, value, answer)
        return b"%b%d\r\n%b: %b\r\n\r\n%b" % parts

    def note(
        self, head: Head | None, status: int, code: str | None = None, started_s: float = 0.0
    ) -> None:
        """Log a request if that is wanted; of one whose head was known, not all is known."""
        self.requests.note(
            "POST",
            "/event",
            status,
            code=code,
            app=head.app if head else None,
            request_id=head.request_id if head else "",
            started_s=started_s,
        )

    def learn(self, head: bytes) -> Head | None:
        """Parse a head that is not known; remember it if it is accepted and may come again.

        That of a key for some pages or events never is: it is none that `plain_grant_of` knows.
        """
        parsed = parse(head, self.keyring.plain_grant_of, self._body_bytes_max)
        if parsed is None:
            return None
        if self.requests.has_room:
            parsed.attend()
        elif parsed.is_repeated:
            if len(self.heads) >= HEADS_MAX:
                self.heads.clear()
            self.heads[head] = parsed
        return parsed
