"""Seeded bugs: each breaks one promise of the server, so that the audit can show that it notices.

They are patched in by `bench.audit.server` when AUDIT_BUG names one; the product knows
nothing of them. `BUGS` says which faults bring a bug to light and which invariant must fail.
"""

# ruff: noqa: SLF001 - bugs are made inside

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import orjson

from bench.audit import archive_bugs, claim_bugs, row_bugs, server_bugs, spool_bugs, worker_bugs
from bench.audit.bug import Bug
from bench.audit.patch import Nobody, replace, with_new_ids
from ingest.delivery import batch as batches
from ingest.delivery import fallback, intake, outcome, writer
from ingest.delivery.batch import Batch
from ingest.delivery.commit import Commit, Part
from ingest.delivery.committer import Committer
from ingest.delivery.outcome import Ack, Outcome, Waiter
from ingest.delivery.writer import Writer
from ingest.errors import Code, Refusal
from ingest.events import copy_format, event
from ingest.http.fast_connection import FastConnection
from ingest.http.waiters import BatchAnswer
from ingest.observe.metrics import Metrics
from ingest.store import failures, link
from ingest.store.apps import App
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.link import CopyLink

_HONEST_SETTLE: Final = outcome.settle
_FORGETS_ONE_IN: Final = 1_000


def ack_before_commit() -> None:
    """Answer first, then COPY."""
    original = Writer._write

    async def write(self: Writer, batch: Batch) -> None:
        waiters, batch.waiters = batch.waiters, [Nobody() for _ in batch.rows]
        _HONEST_SETTLE(waiters, Ack.COMMITTED)
        await original(self, batch)

    replace(Writer, "_write", write)


def drop_when_away() -> None:
    """Postgres is away: say 200 and forget."""
    original = CopyLink.copy

    async def copy(self: CopyLink, document: bytes, count: int) -> None:
        try:
            await original(self, document, count)
        except Unavailable:
            if not count:
                raise

    replace(CopyLink, "copy", copy)


def new_ids_after_unknown_fate() -> None:
    """Send again what may have been committed, as new rows."""
    original = CopyLink.copy

    async def copy(self: CopyLink, document: bytes, count: int) -> None:
        try:
            await original(self, document, count)
        except Unavailable as failure:
            if failure.stored is False or not count:
                raise
            await original(self, with_new_ids(document), count)

    replace(CopyLink, "copy", copy)


def lost_connection_is_a_bad_row() -> None:
    """Blame the first row when the transport has died."""
    original = failures.while_sending

    def classify(error: Exception, count: int = 0) -> Exception:
        if isinstance(error, OSError | RuntimeError) and count:
            return RowRefused(0, "XX000", "the transport is closed")
        return original(error, count)

    replace(link, "while_sending", classify)


def read_only_is_a_bad_row() -> None:
    """Blame the first row for 25006."""
    original = failures.while_sending

    def classify(error: Exception, count: int = 0) -> Exception:
        if getattr(error, "sqlstate", None) == "25006" and count:
            return RowRefused(0, "25006", "cannot execute COPY in a read-only transaction")
        return original(error, count)

    replace(link, "while_sending", classify)


def acks_stop_at_a_dead_client() -> None:
    """Answer nobody behind a client that has gone."""

    def settle(waiters: Iterable[Waiter], told: Outcome, row: bytes = b"") -> None:
        for waiter in waiters:
            if isinstance(waiter, FastConnection) and waiter._transport is None:
                return
            waiter.settle(told, row)

    _replace_settle(settle)


def answers_swapped() -> None:
    """Give the first two of a batch each other's answer."""

    def settle(waiters: Iterable[Waiter], told: Outcome, row: bytes = b"") -> None:
        waiting = list(waiters)
        fast = [each for each in waiting if isinstance(each, FastConnection)]
        if len(fast) > 1 and isinstance(told, Ack):
            fast[0]._answer, fast[1]._answer = fast[1]._answer, fast[0]._answer
        _HONEST_SETTLE(waiting, told, row)

    _replace_settle(settle)


def sender_forgotten() -> None:
    """Forget one sender in a thousand."""
    settled = [0]

    def settle(waiters: Iterable[Waiter], told: Outcome, row: bytes = b"") -> None:
        waiting = list(waiters)
        settled[0] += len(waiting)
        if settled[0] > _FORGETS_ONE_IN:
            settled[0] = 0
            waiting.pop()
        _HONEST_SETTLE(waiting, told, row)

    _replace_settle(settle)


def neighbour_is_told() -> None:
    """Tell the event behind it in its batch that Postgres has refused an event."""
    original = BatchAnswer.note

    def note(self: BatchAnswer, index: int, outcome: Outcome) -> None:
        is_refused = isinstance(outcome, Refusal)
        original(self, (index + 1) % len(self._rows) if is_refused else index, outcome)

    replace(BatchAnswer, "note", note)


def refused_is_stored() -> None:
    """Refuse an unknown field, and store the event all the same."""
    original = intake.Intake.accept

    def accept(
        self: intake.Intake, app: App, body: bytes, waiter: Waiter, key: bytes | None = None
    ) -> bytes:
        try:
            return original(self, app, body, waiter, key)
        except Refusal as refusal:
            if refusal.code is Code.UNKNOWN_FIELD:
                original(self, app, body.replace(b"event_parms", b"event_params"), Nobody())
            raise

    replace(intake.Intake, "accept", accept)


def neighbour_dropped() -> None:
    """Take a bad row's neighbour out as well, and tell it that it is stored."""
    original = Committer._take_out

    def take_out(self: Committer, commit: Commit, part: Part, bad: RowRefused) -> None:
        known = set(commit.refused)
        original(self, commit, part, bad)
        neighbours = {index + 1 for index in commit.refused.keys() - known}
        left = (
            Part([index for index in each.indices if index not in neighbours], each.is_suspect)
            for each in commit.parts
        )
        commit.parts = [each for each in left if each.indices]

    replace(Committer, "_take_out", take_out)


def payload_altered() -> None:
    """Send the parameters through a parser that knows doubles only."""
    original = copy_format.row

    def row(head: bytes, event_id: bytes, name: bytes, params: bytes, times: bytes) -> bytes:
        return original(head, event_id, name, orjson.dumps(orjson.loads(params)), times)

    replace(copy_format, "row", row)


def time_altered() -> None:
    """Store the time a millisecond late."""
    original = copy_format.row

    def row(head: bytes, event_id: bytes, name: bytes, params: bytes, times: bytes) -> bytes:
        late = (int.from_bytes(times[4:12], "big") + 1_000).to_bytes(8, "big")
        return original(head, event_id, name, params, times[:4] + late + times[12:])

    replace(copy_format, "row", row)


def books_do_not_balance() -> None:
    """Count an event of a batch twice."""
    original = Metrics.committed

    def committed(self: Metrics, events: int, commit_s: float) -> None:
        original(self, events, commit_s)
        self.committed_events += events > 1

    replace(Metrics, "committed", committed)


def good_is_refused() -> None:
    """Take a backslash before u0000 for a NUL."""
    original = event.decode

    def decode(body: bytes, name_chars_max: int) -> tuple[str, bytes, event.Event | None]:
        if rb"\\u0000" in body:
            raise Refusal(Code.INVALID_EVENT_PARAMS, "event_params contains U+0000")
        return original(body, name_chars_max)

    replace(event, "decode", decode)


def writer_dies() -> None:
    """Let the writer's task end at the first failure."""

    async def run(self: Writer) -> None:
        while True:
            batch = await self._queue.take()
            if self._retries is not None:
                await self._retries.take_out(batch)
            commit = Commit(batch.rows)
            await self._committer.run(commit)
            await self._settle(batch, commit, 0.0)
            self._queue.done(batch)

    replace(Writer, "run", run)


def memory_leaks() -> None:
    """Keep every request for ever, five hundred times over."""
    kept: list[Sequence[bytes]] = []
    original = event.decode

    def decode(body: bytes, name_chars_max: int) -> tuple[str, bytes, event.Event | None]:
        kept.append([bytes(bytearray(body)) for _ in range(500)])
        return original(body, name_chars_max)

    replace(event, "decode", decode)


def outage_is_refused() -> None:
    """Answer 500 while Postgres is away, as if there were no spool."""

    async def take(
        self: Any,  # noqa: ANN401
        batch: Batch,
        reason: str,
        *,
        stored: bool | None,
    ) -> None:
        await asyncio.sleep(0)
        text = f"The event was not stored ({reason}, {stored})."
        self.refuse(batch, Refusal(Code.DATABASE_ERROR, text))

    replace(fallback.Fallback, "take", take)


def _replace_settle(settle: Callable[[Iterable[Waiter], Outcome], None]) -> None:
    """Replace it in the modules that imported it by name, too."""
    for module in (outcome, batches, writer, fallback):
        replace(module, "settle", settle)


_LINK_ENDS: Final = ("link-cut", "commit-answer-lost")
BUGS: Final[dict[str, Bug]] = {
    "ack-before-commit": Bug(ack_before_commit, ("server-kill",), ("stored-once",)),
    "drop-when-away": Bug(drop_when_away, ("link-refused",), ("stored-once",)),
    "new-ids-after-unknown-outcome": Bug(
        new_ids_after_unknown_fate, ("commit-answer-lost",), ("nothing-else",)
    ),
    "lost-connection-is-a-bad-row": Bug(
        lost_connection_is_a_bad_row, _LINK_ENDS, ("good-never-refused",)
    ),
    "read-only-is-a-bad-row": Bug(
        read_only_is_a_bad_row, ("read-only-system",), ("good-never-refused",)
    ),
    "acks-stop-at-a-dead-client": Bug(acks_stop_at_a_dead_client, (), ("always-answered",)),
    "answers-swapped": Bug(answers_swapped, (), ("answers-belong",)),
    "sender-forgotten": Bug(sender_forgotten, (), ("always-answered",)),
    "neighbour-is-told": Bug(neighbour_is_told, (), ("good-never-refused",)),
    "refused-is-stored": Bug(refused_is_stored, (), ("refused-absent",)),
    "neighbour-dropped": Bug(neighbour_dropped, (), ("stored-once",)),
    "payload-altered": Bug(payload_altered, (), ("as-sent",)),
    "time-altered": Bug(time_altered, (), ("as-sent",)),
    "books-do-not-balance": Bug(books_do_not_balance, (), ("books-balance",)),
    "good-is-refused": Bug(good_is_refused, (), ("good-never-refused",)),
    "writer-dies": Bug(writer_dies, ("link-cut",), ("stays-up",)),
    "memory-leaks": Bug(memory_leaks, (), ("memory-bounded",)),
    "outage-is-refused": Bug(outage_is_refused, ("link-refused",), ("no-5xx",)),
    "ack-before-spool": Bug(spool_bugs.ack_before_spool, ("outage-kill",), ("stored-once",)),
    "spool-error-ignored": Bug(
        spool_bugs.spool_error_ignored, ("spool-disk-error",), ("stored-once", "spool-drains")
    ),
    "new-ids-on-spooling": Bug(
        spool_bugs.new_ids_on_spooling, ("link-refused",), ("nothing-else",)
    ),
    "replay-without-on-conflict": Bug(
        spool_bugs.replay_without_on_conflict, ("commit-answer-lost",), ("spool-drains",)
    ),
    "conflict-is-new-rows": Bug(
        spool_bugs.conflict_is_new_rows, ("commit-answer-lost",), ("stored-once",)
    ),
    "remove-before-commit": Bug(
        spool_bugs.remove_before_commit, ("die-after-remove",), ("stored-once",)
    ),
    "spool-never-drained": Bug(
        spool_bugs.spool_never_drained, ("link-refused",), ("spool-drains",)
    ),
    "no-crc": Bug(spool_bugs.no_crc, ("spool-damage",), ("nothing-else",)),
    "foreign-spool-is-replayed": Bug(
        spool_bugs.foreign_spool_is_replayed, ("another-database",), ("stored-once",)
    ),
    "damage-blocks": Bug(spool_bugs.damage_blocks, ("spool-damage",), ("spool-drains",)),
    "wal-trusted": Bug(spool_bugs.wal_trusted, ("spool-log-bit", "spool-log-cut"), ("loss-told",)),
    "parcel-blocks": Bug(row_bugs.parcel_blocks, ("trigger-drops-long",), ("none-held-up",), 1),
    "keys-are-ignored": Bug(claim_bugs.keys_are_ignored, (), ("stored-once",)),
    "retry-is-told-its-own": Bug(claim_bugs.retry_is_told_its_own, (), ("retries-told",)),
    "unchecked-is-sure": Bug(claim_bugs.unchecked_is_sure, ("link-refused",), ("retries-told",)),
    "rejected-retry-ignores-keys": Bug(
        claim_bugs.rejected_retry_ignores_keys,
        ("check-refuses", "trigger-raises"),
        ("stored-once",),
        times=10,
    ),
    "early-ack-dropped": Bug(claim_bugs.early_ack_dropped, (), ("early-kept",)),
    "apps-mixed": Bug(claim_bugs.apps_mixed, (), ("nothing-else",)),
    "dead-workers-counts-forgotten": Bug(
        worker_bugs.dead_workers_counts_forgotten, ("worker-killed",), ("counters-grow",), 2, 2
    ),
    "left-events-forgotten": Bug(
        worker_bugs.left_events_forgotten, ("worker-killed",), ("books-balance",), 4, 2
    ),
    "replaced-worker-hangs-up": Bug(
        worker_bugs.replaced_worker_hangs_up, ("hangup",), ("always-answered",), 1, 2
    ),
    "door-closed-for-all": Bug(
        worker_bugs.door_closed_for_all, ("hangup",), ("always-answered",), 1, 2
    ),
    "successor-comes-late": Bug(
        worker_bugs.successor_comes_late, ("hangup",), ("handed-over",), 1, 2
    ),
    "orphans-serve-on": Bug(
        worker_bugs.orphans_serve_on, ("supervisor-killed",), ("staffed",), 1, 2
    ),
    "dead-workers-spool-waits": Bug(
        worker_bugs.dead_workers_spool_waits, ("worker-killed",), ("spool-drains",), 4, 2
    ),
    **server_bugs.BUGS,
    **{
        name: Bug(plant, ("insights-killed",), breaks, times, is_archives=True)
        for name, plant, breaks, times in (
            ("file-after-mark", archive_bugs.file_after_mark, ("archive-kept",), 4),
            ("mark-alone", archive_bugs.mark_alone, ("asked-exactly", "archive-true"), 3),
            ("row-at-mark-missed", archive_bugs.row_at_mark_missed, ("archive-true",), 2),
            ("row-at-mark-twice", archive_bugs.row_at_mark_twice, ("archive-true",), 2),
            ("tail-without-bound", archive_bugs.tail_without_bound, ("asked-exactly",), 2),
            ("tail-behind-mark", archive_bugs.tail_behind_mark, ("asked-exactly",), 4),
            ("late-rows-ignored", archive_bugs.late_rows_ignored, ("archive-true",), 2),
            ("parts-deleted-early", archive_bugs.parts_deleted_early, ("archive-kept",), 4),
            ("parts-count-on", archive_bugs.parts_count_on, ("archive-true",), 2),
        )
    },
}
