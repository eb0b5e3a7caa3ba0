"""Whether Postgres can be written to: known at once to everybody, probed while it can't.

While it is known to be away nobody waits for a time-out. A probe is a COPY of no rows, so it needs
what a batch needs: a connection, the table, the permission, no lock, a server that takes writes.
"""

import asyncio
import random
import time

import structlog

from ingest.store.failures import Outage, Unavailable
from ingest.store.link import CopyLink

log = structlog.get_logger(__name__)

_INTERVAL_S = 1.0
_BACKOFF_MIN_S = 0.05
_BACKOFF_MAX_S = 1.0


class Health:
    """Up until a failure is reported; after that down until a probe succeeds."""

    def __init__(self, link: CopyLink, empty_document: bytes) -> None:
        self._link = link
        self._empty_document = empty_document
        self._failure: Unavailable | None = None
        self._down_since_s = 0.0
        self._reported = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether the last that was heard of Postgres is good."""
        return self._failure is None

    @property
    def reason(self) -> str:
        """Why it is down, in a few words; empty while it is up."""
        return self._failure.reason if self._failure else ""

    def check(self) -> None:
        """Raise Unavailable at once while Postgres is known to be away."""
        if self._failure is not None:
            raise Unavailable(self._failure.reason, stored=False, outage=Outage.AWAY)

    def report(self, failure: Unavailable) -> None:
        """Take note of a failed write. One lost connection is no outage: a new one may work."""
        if failure.outage is Outage.CONNECTION_LOST or self._failure is not None:
            return
        self._failure = failure
        self._down_since_s = time.monotonic()
        self._reported.set()
        log.error("Postgres is away", reason=failure.reason)

    async def watch(self) -> None:
        """Probe for ever: slowly while it is up, with a jittered back-off while it is down."""
        backoff_s = _BACKOFF_MIN_S
        while True:
            if self.is_up:
                backoff_s = _BACKOFF_MIN_S
                await self._wait(_INTERVAL_S)
            else:
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
            await self._probe()

    async def _wait(self, timeout_s: float) -> None:
        self._reported.clear()
        try:
            await asyncio.wait_for(self._reported.wait(), timeout_s)
        except TimeoutError:
            return

    async def _probe(self) -> None:
        try:
            await self._link.copy(self._empty_document, 0)
        except Unavailable as failure:
            # Here even a lost connection counts, should the next try not be better.
            if self._failure is None and failure.outage is Outage.CONNECTION_LOST:
                await self._probe_again()
            else:
                self.report(failure)
        else:
            self._recover()

    async def _probe_again(self) -> None:
        try:
            await self._link.copy(self._empty_document, 0)
        except Unavailable as failure:
            self.report(Unavailable(failure.reason, stored=False, outage=Outage.AWAY))

    def _recover(self) -> None:
        if self._failure is not None:
            self._failure = None
            log.info("Postgres is back", away_s=round(time.monotonic() - self._down_since_s, 3))
