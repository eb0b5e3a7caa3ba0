"""The replayer: brings what the spool holds to Postgres, oldest first, exactly once.

A transaction takes many batches at once. A batch leaves the spool only after COMMIT, and coming
again does no harm, so a crash at any moment costs nothing. Rows that Postgres refuses become dead
letters, in `rejected_events`. What can be brought neither there nor to `events` for the moment is
passed by, and comes again after everything else: nothing blocks what is behind it.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Final

import structlog

from ingest.delivery.commit import Commit
from ingest.delivery.committer import Committer
from ingest.delivery.doubts import Doubts
from ingest.delivery.events_table import EVENTS
from ingest.delivery.queues import Queues
from ingest.delivery.shared import Shared
from ingest.events import copy_reader
from ingest.spool import BatchRef, Spool, SpooledBatch, SpoolFailed
from ingest.store import rejected
from ingest.store.failures import NoTurn, RowRefused, Unavailable
from ingest.store.postgres import Postgres
from ingest.store.rejected import Rejected

log = structlog.get_logger(__name__)

PART_ROWS_MAX: Final = 500
"""Behind a refused row the rest of a transaction is sent in parts of so many."""

Placed = tuple[SpooledBatch, range]
"""A batch, and the indices of its rows in a commit."""

_EVENTS_MAX: Final = 20_000
_FAILURES_MAX: Final = 15_000
"""Behind so many failures what is left of a transaction is passed by: more than a batch can have
whose rows are all refused one by one, and less than a minute of time-outs."""
_ALONE_MAX: Final = 2
"""A batch that was sent alone and failed so often is passed by, whatever it was."""
_AGAIN_MIN_S: Final = 1.0
_AGAIN_MAX_S: Final = 30.0
_AGAIN_OF_NODE_MAX_S: Final = 5.0
"""What a node of Citus has not taken: it, or what it had prepared, may be back in seconds."""
_IDLE_S: Final = 0.1
_REFUSED_PAUSE_S: Final = 0.5
"""Behind refused rows what is spooled meanwhile is brought at once: row by row they cost a fifth of
a core at a hundred a second."""
_LOOK_S: Final = 3.0
_RETRY_S: Final = 0.5
HOLD_S: Final = 2.0
"""So long one process replays while others wait to."""
_TURN_S: Final = 60.0
_BUSY_EVENTS: Final = 1_000
_YIELD_S: Final = 0.005
_YIELDS_MAX: Final = 40


class _Lap:
    """One walk through the spool, from the oldest batch to the newest and on with those that come.

    What was passed by on it is behind; the next lap begins after a while, with the oldest again.
    """

    def __init__(self) -> None:
        self._again_s = _AGAIN_MIN_S
        self._ends_s = math.inf
        self._began_ms = time.time() * 1000
        self.done: dict[str, int] = {}
        """By file, up to which id batches were brought or passed by."""

    def behind(self, batches: Sequence[SpooledBatch]) -> dict[str, int]:
        """Return what `done` is once these batches are done as well."""
        return self.done | {batch.ref.file: batch.ref.id for batch in batches}

    def is_over(self, batches: Sequence[SpooledBatch]) -> bool:
        """Whether it is time for the next lap, and only what came on this one is left."""
        is_time = time.monotonic() >= self._ends_s
        return is_time and batches[0].appended_ms > self._began_ms

    def pass_by(self, again_max_s: float = _AGAIN_MAX_S) -> None:
        """Have the next lap begin in a while, each time later: something was left behind."""
        if self._ends_s == math.inf:
            self._ends_s = time.monotonic() + min(again_max_s, self._again_s)
            self._again_s = min(_AGAIN_MAX_S, self._again_s * 2)

    def hasten(self) -> None:
        """Have the next lap begin at once: what was passed by may be brought now."""
        self._again_s = _AGAIN_MIN_S
        self._ends_s = min(self._ends_s, time.monotonic())

    def end(self) -> None:
        """Begin the next lap, if nothing was passed by or it is time."""
        if self._ends_s == math.inf:
            self._again_s = _AGAIN_MIN_S
        if self._ends_s == math.inf or time.monotonic() >= self._ends_s:
            self._ends_s = math.inf
            self._began_ms = time.time() * 1000
            self.done = {}


class Replayer:
    """Brings spooled batches to Postgres, with one task and one connection."""

    def __init__(
        self,
        spool: Spool,
        queues: Queues,
        committer: Committer,
        postgres: Postgres,
        shared: Shared,
    ) -> None:
        self._spool = spool
        self._queues = queues
        self._committer = committer
        self._postgres = postgres
        self._health, self._quarantine, _, self._metrics = shared
        self._looked_s = -_LOOK_S
        self._lap = _Lap()
        self._away: frozenset[int] = frozenset()
        """Apps whose rows are passed by, as their node of Citus is away."""
        self._doubts = Doubts()
        self._pause_s = _IDLE_S
        self._events_max = _EVENTS_MAX
        """Of one transaction: one batch alone behind a failure, then twice as many each time."""
        self._failures: Counter[BatchRef] = Counter()
        """How often the batch that was sent last failed alone."""

    async def run(self) -> None:
        """Replay until cancelled."""
        while True:
            if not self._health.is_up or not self._is_time_to_look():
                await asyncio.sleep(_IDLE_S)
                continue
            try:
                await self._give_way()
                await self._replay()
            except NoTurn:
                continue
            except Unavailable as failure:
                self._health.report(failure)
                await asyncio.sleep(_IDLE_S)
            except SpoolFailed as failure:
                log.warning("the spool can't be read", reason=failure.reason)
                await asyncio.sleep(_RETRY_S)

    def _is_time_to_look(self) -> bool:
        """Whether something waits; now and then also when not: another process may have died."""
        now_s = time.monotonic()
        if self._spool.is_empty and now_s - self._looked_s < _LOOK_S:
            return False
        self._looked_s = now_s
        return True

    async def _give_way(self) -> None:
        """Let live traffic go first, for a while."""
        for _ in range(_YIELDS_MAX):
            if self._queues.waiting_events < _BUSY_EVENTS:
                return
            await asyncio.sleep(_YIELD_S)

    async def _replay(self) -> None:
        """Bring everything to Postgres, oldest first, while it is this process's turn."""
        away, self._away = self._away, self._committer.apps_away
        if away - self._away:
            self._lap.hasten()
        batches = await self._spool.oldest(self._events_max, beyond=self._lap.done)
        if batches and not self._lap.is_over(batches):
            async with self._committer.held(_TURN_S):
                batches = await self._bring_all(batches)
        if not batches or self._lap.is_over(batches):
            self._lap.end()
        pause_s, self._pause_s = self._pause_s, _IDLE_S
        await asyncio.sleep(pause_s)  # what is left may be unreadable for the moment

    async def _bring_all(self, batches: list[SpooledBatch]) -> list[SpooledBatch]:
        """Bring these batches and those behind them, reading ahead while Postgres writes.

        Returns those that are left.
        """
        while self._goes_on(batches):
            behind = self._lap.behind(batches)
            reading = asyncio.create_task(self._spool.oldest(self._events_max, beyond=behind))
            try:
                await self._bring(batches)
                self._lap.done = behind  # not before: what was only read ahead comes again
                batches = await reading
            finally:
                await _end(reading)
            await self._give_way()
        return batches

    def _goes_on(self, batches: Sequence[SpooledBatch]) -> bool:
        """Whether these batches can and should be brought now."""
        is_time = bool(batches) and self._health.is_up and not self._committer.is_due
        return is_time and not self._lap.is_over(batches)

    async def _bring(self, batches: Sequence[SpooledBatch]) -> None:
        """Bring batches to Postgres, and only then take them out of the spool.

        All at once. If Postgres goes away in the middle, what is done by then stays done.
        """
        rows = [row for batch in batches for row in batch.rows]
        commit = Commit(rows, self._quarantine.note_hung)
        try:
            await self._committer.require_database()  # that the spool belongs to
            await self._committer.run(commit, _FAILURES_MAX)
        except Unavailable as failure:
            await self._settle(batches, commit)
            self._events_max = 1
            if not self._is_hopeless(batches):
                raise
            self._health.report(failure)
            self._lap.pass_by()
        else:
            if not await self._settle(batches, commit):
                self._lap.pass_by(self._again_max_s(commit))
            self._failures.clear()
            self._events_max = min(_EVENTS_MAX, self._events_max * 2)

    def _again_max_s(self, commit: Commit) -> float:
        """Return after how long at most what is left of a commit is to be tried again."""
        nodes = self._committer.nodes
        is_of_node = nodes is not None and any(map(nodes.may_have_failed, commit.refused.values()))
        return _AGAIN_OF_NODE_MAX_S if is_of_node else _AGAIN_MAX_S

    def _is_hopeless(self, batches: Sequence[SpooledBatch]) -> bool:
        """Whether these batches have failed once more, and are to be passed by from now on."""
        if len(batches) > 1:
            return False
        ref = batches[0].ref
        self._failures = Counter({ref: self._failures[ref] + 1})
        return self._failures[ref] >= _ALONE_MAX

    async def _settle(self, batches: Sequence[SpooledBatch], commit: Commit) -> bool:
        """Forget batches whose events are stored or kept as dead letters; return if all are."""
        settled = self._settled(batches, commit)
        if commit.refused:
            self._note(commit)
            self._pause_s = _REFUSED_PAUSE_S
            settled = await self._keep_refused(settled, commit)
        await self._forget(settled, commit)
        return len(settled) == len(batches)

    def _settled(self, batches: Sequence[SpooledBatch], commit: Commit) -> list[Placed]:
        """Return the batches that need not come again: of each row it is clear what becomes of it.

        A refused row may pass by itself; and one that was not judged is not given up the first
        time.
        """
        passing = {at for at, bad in commit.refused.items() if bad.is_passing}
        doubtful = {at for at, bad in commit.refused.items() if bad.is_doubtful}
        left = commit.pending | passing
        return [
            (batch, indices)
            for batch, indices in _place(batches)
            if left.isdisjoint(indices)
            and (doubtful.isdisjoint(indices) or not self._doubts.is_in_doubt(batch.ref))
        ]

    def _note(self, commit: Commit) -> None:
        """Raise the alarm; where rows took a time-out, live ones of their apps are kept apart."""
        self._health.row_alarm.note(commit.refused.values())
        for app_id, bad in commit.refused_by_app():
            if bad.is_waiting:  # all others a writer has noted before
                self._quarantine.note_hung(app_id)

    async def _forget(self, settled: Sequence[Placed], commit: Commit) -> None:
        """Take batches out of the spool."""
        if not settled:
            return
        dead = sum(at in commit.refused for _, indices in settled for at in indices)
        events = sum(len(indices) for _, indices in settled)
        note = partial(self._metrics.replayed, events - dead, dead)
        for batch, _ in settled:
            self._doubts.forget(batch.ref)
        await self._spool.remove([batch for batch, _ in settled], note)

    async def _keep_refused(self, settled: Sequence[Placed], commit: Commit) -> list[Placed]:
        """Make the refused rows of batches dead letters; return the batches that are settled then.

        All at once, or, if that fails, batch by batch: one that can't be kept stays in the spool.
        """
        failure = await self._keep(settled, commit)
        if failure is None:
            return list(settled)
        if failure.is_waiting:  # each batch would wait as long again
            return [each for each in settled if commit.refused.keys().isdisjoint(each[1])]
        return [each for each in settled if await self._keep([each], commit) is None]

    async def _keep(self, settled: Sequence[Placed], commit: Commit) -> RowRefused | None:
        """Keep the refused rows of batches; return why they can't be kept."""
        dead = [at for _, indices in settled for at in indices if at in commit.refused]
        if not dead:
            return None
        try:
            await rejected.keep(self._postgres, EVENTS, [_dead_letter(commit, at) for at in dead])
        except Unavailable as failure:
            if not failure.sqlstate:  # nobody could be asked
                raise
            refusal = failure.as_refusal()
            self._health.row_alarm.note([refusal])
            return refusal
        return None


def _dead_letter(commit: Commit, at: int) -> Rejected:
    bad = commit.refused[at]
    return Rejected(copy_reader.decode(commit.rows[at]), bad.sqlstate, bad.message, bad.named)


def _place(batches: Sequence[SpooledBatch]) -> list[Placed]:
    """Return each batch with where its rows are among those of all."""
    ends = accumulate(len(batch.rows) for batch in batches)
    return [
        (batch, range(end - len(batch.rows), end)) for batch, end in zip(batches, ends, strict=True)
    ]


async def _end(reading: asyncio.Task[list[SpooledBatch]]) -> None:
    """Cancel reading ahead, and take note of what it raised."""
    reading.cancel()
    await asyncio.wait((reading,))
    if not reading.cancelled():
        reading.exception()  # seen; the next reading meets it again
