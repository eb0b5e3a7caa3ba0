"""Idempotency keys of clients that can't make ids: which event a key stands for, for 24 hours.

A key is written together with its event, in one transaction. Here they are only forgotten.
"""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from ingest.store.failures import Unavailable
from ingest.store.postgres import Connection, Postgres

log = structlog.get_logger(__name__)

KEPT: Final = timedelta(hours=24)
"""How long the same key means the same event. It may be found for a while longer."""

_INTERVAL_S: Final = 300.0
_CHUNK_KEYS: Final = 5_000
_CHUNKS_MAX: Final = 400
_PAUSE_S: Final = 0.05
# Begins where the last chunk ended: to walk over what that one deleted costs more each time. Keys
# that a merge or another server has locked are left to the next time, so nobody waits for anybody.
_FORGET: Final = (
    "WITH old AS (SELECT ctid FROM idempotency_keys"
    " WHERE created_at >= $1 AND created_at < now() - $2::interval"
    " ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED),"
    " gone AS (DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM old))"
    " RETURNING created_at)"
    " SELECT count(*) AS keys, max(created_at) AS last FROM gone"
)


async def forget_old(postgres: Postgres) -> int:
    """Delete the keys that are older than KEPT; return how many; raise Unavailable.

    Two million at most, in transactions of 5,000; the rest is left to the next time.
    """
    async with postgres.session() as connection:
        return await _forget(connection)


async def _forget(connection: Connection) -> int:
    keys = 0
    last = datetime.fromtimestamp(0, UTC)
    for _ in range(_CHUNKS_MAX):
        chunk = await connection.fetchrow(_FORGET, last, KEPT, _CHUNK_KEYS)
        if chunk is None or chunk["last"] is None:
            break
        keys, last = keys + chunk["keys"], chunk["last"]
        await asyncio.sleep(_PAUSE_S)  # live traffic goes first
    return keys


async def run(postgres: Postgres) -> None:
    """Forget old keys for ever; an outage only delays it."""
    while True:
        await asyncio.sleep(_INTERVAL_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        try:
            keys = await forget_old(postgres)
        except Unavailable as failure:
            log.warning("old idempotency keys could not be deleted", reason=failure.reason)
        else:
            if keys:
                log.info("old idempotency keys deleted", keys=keys)
