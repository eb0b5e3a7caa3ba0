"""Seeded bugs of the spool and of the replayer."""

import asyncio
from collections.abc import Sequence
from typing import Final

from bench.audit.patch import Nobody, replace, with_new_ids
from ingest.delivery import outcome
from ingest.delivery.batch import Batch
from ingest.delivery.commit import Commit
from ingest.delivery.fallback import Fallback
from ingest.delivery.outcome import Ack
from ingest.delivery.replay import Replayer
from ingest.spool import Spool
from ingest.spool.failures import SpoolFailed, SpoolFull
from ingest.spool.file import SpoolFile
from ingest.spool.sqlite import batches as stored_batches
from ingest.spool.sqlite.file import SqliteFile
from ingest.spool.storage import Entry, Recovery
from ingest.spool.tally import Tally
from ingest.store.failures import AlreadyStored, Outage, Unavailable
from ingest.store.link import CopyLink
from ingest.store.merge import Merged
from ingest.store.postgres import Postgres

_LATE_S: Final = 0.25
_EVENTS_MAX: Final = 20_000
_NOTHING_STORED: Final = Merged(0, [])


def ack_before_spool() -> None:
    """Answer 202 a quarter of a second before the spool's commit."""
    original = Fallback.take

    async def take(
        self: Fallback,
        batch: Batch,
        reason: str,
        *,
        stored: bool | None,
    ) -> None:
        waiters, batch.waiters = batch.waiters, [Nobody() for _ in batch.rows]
        outcome.settle(waiters, Ack.SPOOLED)
        await asyncio.sleep(_LATE_S)
        await original(self, batch, reason, stored=stored)

    replace(Fallback, "take", take)


def spool_error_ignored() -> None:
    """Answer 202 also when the disk did not take it."""
    original = Spool.append

    async def append(
        self: Spool, rows: Sequence[bytes], dedup_keys: Sequence[bytes] | None = None
    ) -> None:
        try:
            await original(self, rows, dedup_keys)
        except (SpoolFailed, SpoolFull):
            return

    replace(Spool, "append", append)


def new_ids_on_spooling() -> None:
    """Spool the rows under other ids than were told."""
    original = Spool.append

    async def append(
        self: Spool, rows: Sequence[bytes], dedup_keys: Sequence[bytes] | None = None
    ) -> None:
        await original(self, [with_new_ids(row) for row in rows], dedup_keys)

    replace(Spool, "append", append)


def replay_without_on_conflict() -> None:
    """Insert what is stored already, again and again."""

    async def merge(self: CopyLink, document: bytes, count: int, **_: bool) -> Merged:
        try:
            await self.copy(document, count)
        except AlreadyStored as error:
            raise Unavailable("a conflict", stored=False, outage=Outage.CONNECTION_LOST) from error
        return _NOTHING_STORED

    replace(CopyLink, "merge", merge)


def conflict_is_new_rows() -> None:
    """Take a conflict of keys for bad luck, and draw others."""

    async def merge(self: CopyLink, document: bytes, count: int, **_: bool) -> Merged:
        await self.copy(with_new_ids(document), count)
        return _NOTHING_STORED

    replace(CopyLink, "merge", merge)


def remove_before_commit() -> None:
    """Take batches out of the spool, then store them."""

    async def replay(self: Replayer) -> None:
        batches = await self._spool.oldest(_EVENTS_MAX)
        if not batches:
            return
        await self._spool.remove(batches)
        commit = Commit([row for batch in batches for row in batch.rows])
        self._metrics.replayed_events += len(commit.rows)
        await self._committer.run(commit)
        await self._keep_refused([(batches[0], range(len(commit.rows)))], commit)

    replace(Replayer, "_replay", replay)


def spool_never_drained() -> None:
    """Let the replayer sleep."""

    async def run(self: Replayer) -> None:
        await asyncio.Event().wait()  # for good
        await self._replay()

    replace(Replayer, "run", run)


def no_crc() -> None:
    """Read back whatever is there."""
    replace(stored_batches, "is_intact", lambda *_: True)


def damage_blocks() -> None:
    """Stop at a damaged batch, for ever."""

    def quarantine(self: SpoolFile, entry: Entry, reason: str) -> None:
        raise OSError(f"{self.name}: batch {entry.id}: {reason}")

    replace(SpoolFile, "_quarantine", quarantine)


def foreign_spool_is_replayed() -> None:
    """Take any database for one's own."""
    replace(Postgres, "require", lambda *_: None)


def wal_trusted() -> None:
    """Take what SQLite takes for the end of a log, and ask nobody how long it should have been."""
    replace(SqliteFile, "recover", lambda _: Recovery())
    replace(Tally, "read", lambda _: None)
