"""Seeded bugs of what clients may say of their events: ids, keys, early answers, whose they are."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from bench.audit.patch import replace
from bench.load.database import Session
from ingest.delivery import intake
from ingest.delivery.batch import Batch
from ingest.delivery.outcome import Duplicate, Waiter
from ingest.delivery.queue import EventQueue
from ingest.delivery.retries import Retries
from ingest.events import copy_format, row_json
from ingest.http.waiters import EarlyAcks
from ingest.store import rejected
from ingest.store.link import CopyLink
from ingest.store.merge import Earlier, Merged
from ingest.store.rejected import RetryResult
from ingest.store.table import Table

_DROPS_ONE_IN: Final = 5


def keys_are_ignored() -> None:
    """Store what has an Idempotency-Key as if it had none."""
    original = CopyLink.merge

    async def merge(self: CopyLink, document: bytes, count: int, **asked: bool) -> Merged:
        return await original(self, document, count, **{**asked, "has_keys": False})

    replace(CopyLink, "merge", merge)


def retry_is_told_its_own() -> None:
    """Answer a retry with what it has sent, not with what is stored."""
    original = Retries.duplicates

    def duplicates(
        self: Retries, batch: Batch, earlier: Sequence[Earlier]
    ) -> Mapping[int, Duplicate]:
        found = original(self, batch, earlier)
        return {
            at: each._replace(row=row_json.of_tuple(batch.rows[at])) for at, each in found.items()
        }

    replace(Retries, "duplicates", duplicates)


def rejected_retry_ignores_keys() -> None:
    """Store what was rejected unless its id is there, whatever its key stands for."""

    async def store(connection: Session, table: Table, key: tuple[int, UUID]) -> RetryResult:
        values = ", ".join(f'"{column.name}"::{column.sql_type}' for column in table.columns)
        done = await connection.execute(
            f"INSERT INTO events ({table.column_list}) SELECT {values} FROM rejected_events"  # noqa: S608
            " WHERE app_id = $1 AND id = $2 ON CONFLICT (app_id, id) DO NOTHING",
            *key,
        )
        return RetryResult.STORED if done == "INSERT 0 1" else RetryResult.ALREADY_STORED

    replace(rejected, "_store", store)


def unchecked_is_sure() -> None:
    """Promise the row of a spooled event that may have been stored before."""
    replace(intake, "Unchecked", lambda waiter: waiter)


def early_ack_dropped() -> None:
    """Forget one in five of those that were answered early."""
    original = EventQueue.put
    dropped = [0]

    def put(self: EventQueue, row: bytes, waiter: Waiter) -> None:
        dropped[0] += isinstance(waiter, EarlyAcks)
        if isinstance(waiter, EarlyAcks) and not dropped[0] % _DROPS_ONE_IN:
            return
        original(self, row, waiter)

    replace(EventQueue, "put", put)


def apps_mixed() -> None:
    """Take every event for the first app's."""
    original = copy_format.row_head
    replace(copy_format, "row_head", lambda _: original(1))
