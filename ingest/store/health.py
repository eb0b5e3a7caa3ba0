"""Whether Postgres can be written to: known at once to everybody, probed while it can't.

Any failure that is no row's counts as an outage until a probe succeeds, and the probe comes at
once: a session that an administrator ended costs some milliseconds, a server that hangs costs one
time-out and not one a batch. A probe is a COPY of no rows, so it needs what a batch needs: a
connection, the table, the permission, no lock, a server that takes writes, and that it is still the
database that is meant: another one may be put in its place at any time. What only a real row meets
is for `row_alarm` to tell.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog

from ingest.store.failures import Outage, Unavailable
from ingest.store.row_alarm import RowAlarm

log = structlog.get_logger(__name__)

_INTERVAL_S = 1.0
_BACKOFF_MIN_S = 0.05
_BACKOFF_MAX_S = 1.0
_ALARM_INTERVAL_S = 30.0


class Probe(Protocol):
    """Tries whether Postgres can be written to."""

    async def probe(self) -> None:
        """Write to Postgres all but a row; raise Unavailable if that can't be done."""


class Health:
    """Up until a failure is reported; after that down until a probe succeeds."""

    def __init__(
        self,
        link: Probe,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._link = link
        self._prepare = prepare
        """What a first probe needs done before, for a server that started without Postgres."""
        self.row_alarm = RowAlarm()
        self._failure: Unavailable | None = None
        self._is_confirmed = False
        """Whether a probe has met the failure as well: then it is no row's."""
        self._down_since_s = 0.0
        self._alarmed_s = -math.inf
        self._alarmed_reason = ""
        self._reported = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether the last that was heard of Postgres is good."""
        return self._failure is None

    @property
    def state(self) -> str:
        """`up`; `away`; or `failing`: it is there, and does not do what is asked."""
        if self._failure is None:
            return "up"
        return "failing" if self._failure.outage is Outage.FAILING else "away"

    @property
    def reason(self) -> str:
        """Why it is down, in a few words and with the table's name; empty while it is up."""
        return self._failure.named_reason if self._failure else ""

    def check(self) -> None:
        """Raise Unavailable at once while Postgres is known to be away."""
        if self._failure is not None:
            raise self._failure.unsent()

    def report(self, failure: Unavailable) -> None:
        """Take note of a failed write: until a probe succeeds nobody else needs to try."""
        if self._failure is None:
            self._down_since_s = time.monotonic()
        self._failure = failure.with_traceback(None)  # which holds a batch
        self._reported.set()

    async def run(self) -> None:
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
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._reported.wait()

    async def _probe(self) -> None:
        try:
            if self._prepare is not None:
                await self._prepare()
                self._prepare = None
            await self._try()
        except Unavailable as failure:
            self.report(failure)
            self._is_confirmed = True
            self._alarm(failure)
        else:
            self._recover()

    async def _try(self) -> None:
        try:
            await self._link.probe()
        except Unavailable as failure:
            if not self.is_up or failure.outage is not Outage.CONNECTION_LOST:
                raise
            # While all is well a session may end: the next one shows whether it is more than that.
            await self._link.probe()

    def _alarm(self, failure: Unavailable) -> None:
        """Log an outage that a probe has confirmed: once, and again now and then while it lasts.

        At once when it turns into one that waiting does not mend.
        """
        now_s = time.monotonic()
        is_news = failure.is_lasting and failure.reason != self._alarmed_reason
        if is_news or now_s - self._alarmed_s >= _ALARM_INTERVAL_S:
            self._alarmed_s, self._alarmed_reason = now_s, failure.reason
            away_s = round(now_s - self._down_since_s, 3)
            said = "Postgres is away" if self.state == "away" else "Postgres takes no events"
            log.error(said, reason=failure.reason, text=failure.text, away_s=away_s)

    def _recover(self) -> None:
        failure, self._failure = self._failure, None
        is_confirmed, self._is_confirmed = self._is_confirmed, False
        if failure is None:
            return
        # Postgres was there: rows met what the probe does not meet.
        if failure.sqlstate and not is_confirmed:
            self.row_alarm.note([failure.as_refusal()])
        if self._alarmed_s >= self._down_since_s:
            log.info("Postgres is back", away_s=round(time.monotonic() - self._down_since_s, 3))
