"""The writers: batch by batch from a queue into Postgres, and every sender gets an answer.

A 200 is sent after COMMIT and never before. A row that Postgres refuses costs only its own sender
an answer. Whatever else goes wrong is the database's or ours, never the event's: what is not known
to be stored is spooled.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import structlog

from ingest.delivery.batch import Batch
from ingest.delivery.commit import Commit
from ingest.delivery.committer import Committer
from ingest.delivery.fallback import unknown
from ingest.delivery.outcome import Ack, Outcome, Waiter, settle
from ingest.delivery.queue import EventQueue
from ingest.delivery.retries import Retries
from ingest.delivery.shared import Shared
from ingest.errors import Code, Refusal
from ingest.events import copy_reader
from ingest.store.failures import NoTurn, Unavailable

log = structlog.get_logger(__name__)

_FAILURES_MAX: Final = 64
"""Behind so many refusals by rules of the operator's the rest of a batch is spooled, since the
replay has more time."""
_TURN_S: Final = 5.0
"""So long a batch waits for its connection while another worker has it; then it is spooled."""
GATHER_S: Final = 0.02
"""So long events of apps in quarantine are gathered: a hundred refused rows a second take 7 % of a
core so, and 18 % one by one."""


class Writer:
    """Takes batches from one queue and commits them, with one task and one connection.

    The server runs `writer.connections` of them for the plain queue, and one for the dedup queue,
    which keeps retries in order; and one for each queue of apps that are kept apart, likewise.
    """

    def __init__(
        self,
        queue: EventQueue,
        committer: Committer,
        shared: Shared,
        retries: Retries | None = None,
        *,
        gather_s: float = 0.0,
        is_hung: bool = False,
    ) -> None:
        self._queue = queue
        self._committer = committer
        self._health, self._quarantine, self._fallback, self._metrics = shared
        self._retries = retries
        """For the dedup queue."""
        self._gather_s = gather_s
        """So long it waits before each batch."""
        self._is_hung = is_hung
        """Whether it writes for apps whose rows take time-outs: then those are to blame for them,
        and Postgres is not."""
        self._spooling: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Write until cancelled. Nothing that a batch does ends this loop."""
        try:
            while True:
                if self._gather_s:
                    await asyncio.sleep(self._gather_s)
                batch = await self._queue.take()
                with self._answering(batch):
                    await self._write(batch)
        finally:
            if self._spooling is not None:
                self._spooling.cancel()
                await asyncio.wait([self._spooling])

    @contextmanager
    def _answering(self, batch: Batch) -> Iterator[None]:
        """See that nobody is left waiting: also when cancelled in the middle of a COPY."""
        try:
            yield
        except Exception:
            log.exception("a batch could not be written")
            self._fallback.refuse(batch, unknown("the server failed"))
        finally:
            self._fallback.refuse(batch, unknown("the server stopped"))
            self._queue.done(batch)

    async def _write(self, batch: Batch) -> None:
        started_s = time.monotonic()
        if self._retries is not None:
            await self._retries.take_out(batch)
        commit = Commit(batch.rows)
        try:
            self._health.check()
            async with self._committer.held(_TURN_S):
                await self._committer.run(commit, _FAILURES_MAX)
        except NoTurn as failure:  # is nobody's fault
            reason, stored = failure.reason, failure.stored
        except Unavailable as failure:
            self._blame(batch, failure)
            reason, stored = failure.reason, failure.stored
        else:
            reason, stored = _why_left(commit), False
        if commit.refused:
            self._health.row_alarm.note(commit.refused.values())
            self._quarantine.note(commit.refused_by_app())
        await self._settle(batch, commit, started_s)
        if not batch.rows:
            return
        if self._retries is None:
            await self._spool_meanwhile(self._queue.split_off(batch), reason, stored=stored)
        else:  # before the next batch, in which a retry may look for it there
            await self._fallback.take(batch, reason, stored=stored)

    def _blame(self, batch: Batch, failure: Unavailable) -> None:
        """Tell of a failure that is no row's as far as is known."""
        if not self._is_hung:
            self._health.report(failure)
        elif self._health.is_up and len(set(map(copy_reader.app_id, batch.rows))) == 1:
            self._quarantine.note_hung(copy_reader.app_id(batch.rows[0]))

    async def _spool_meanwhile(self, rest: Batch, reason: str, *, stored: bool | None) -> None:
        """Spool what is left of a batch while the next one is written, one at a time."""

        async def spool() -> None:
            with self._answering(rest):
                await self._fallback.take(rest, reason, stored=stored)

        if self._spooling is not None:
            await asyncio.wait([self._spooling])
        self._spooling = asyncio.create_task(spool())

    async def _settle(self, batch: Batch, commit: Commit, started_s: float) -> None:
        """Tell all senders of whose events something is known; leave the others in the batch."""
        if self._retries is not None:
            commit.earlier = await self._retries.compare(batch, commit.earlier)
        if not batch.rows:  # refused meanwhile, at the end of the process
            return
        if commit.is_clean and not commit.earlier:
            waiters = batch.release()
        else:
            outcomes = self._outcomes(batch, commit)
            waiters = batch.split(outcomes, sorted(commit.unstored - outcomes.keys()))
        self._acknowledge(waiters, started_s)

    def _outcomes(self, batch: Batch, commit: Commit) -> Mapping[int, Outcome]:
        """Return what became of those that were refused, and of those that had been sent before."""
        refusals = {
            at: Refusal(Code.REJECTED_BY_DATABASE, f"Postgres: {bad.message}")
            for at, bad in commit.refused.items()
            if bad.is_told
        }
        self._metrics.failed(Code.REJECTED_BY_DATABASE, len(refusals))
        for at, refusal in refusals.items():
            self._metrics.latest_refusals.note(refusal, copy_reader.app_id(commit.rows[at]))
        if self._retries is not None:
            return {**refusals, **self._retries.duplicates(batch, commit.earlier)}
        return refusals

    def _acknowledge(self, waiters: list[Waiter], started_s: float) -> None:
        """Count what is committed; answer its senders once the next COPY is on its way.

        Writing many answers takes a while: Postgres works meanwhile.
        """
        if not waiters:
            return
        self._metrics.committed(len(waiters), time.monotonic() - started_s)
        asyncio.get_running_loop().call_soon(settle, waiters, Ack.COMMITTED)


def _why_left(commit: Commit) -> str:
    """Return why rows of a commit that has ended are not stored."""
    return "the node that holds its app is away" if commit.passed_by else "Postgres refused it"
