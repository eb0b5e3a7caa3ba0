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
"""How long the same key means the same event."""
USES_MAX: Final = 31
"""A key stands for so many events at most, the last recorded ones: a day apart or more each."""

_INTERVAL_S: Final = 300.0
_CHUNK_KEYS: Final = 5_000
_CHUNKS_MAX: Final = 400
_PAUSE_S: Final = 0.05
_KEPT: Final = f"interval '{KEPT.total_seconds():.0f} seconds'"
# The events that a key stands for: the last one recorded, and those before it.
_USES: Final = (
    "(SELECT kept.event_id, kept.created_at UNION ALL SELECT * FROM unnest(kept.earlier)) AS used"
)
# Times without a zone: only of those it depends on no setting how far apart they are, which Citus
# asks for where a conflict is decided.
_IS_SAME: Final = (
    f"used.created_at AT TIME ZONE 'UTC' > {{0}} AT TIME ZONE 'UTC' - {_KEPT}"
    f" AND used.created_at AT TIME ZONE 'UTC' < {{0}} AT TIME ZONE 'UTC' + {_KEPT}"
)
# Its own columns are the latest use, whatever is replayed: the version before knows only them.
_IS_LATER: Final = "excluded.created_at > kept.created_at"
# No slice of an array: of one in such a place Citus 13 dies.
# An event becomes its key's if it is none that the key stands for already. Of two who record one at
# once the second waits for the first's row, and then sees all of it.
_RECORD: Final = f"""
INSERT INTO idempotency_keys AS kept (app_id, key, event_id, created_at, kept_since)
SELECT DISTINCT ON (app_id, idempotency_key)
    app_id, idempotency_key, id, created_at, greatest(created_at, now())
FROM {{staging}} WHERE idempotency_key IS NOT NULL AND event_id IS NULL AND {{which}}
ORDER BY app_id, idempotency_key, created_at, id
ON CONFLICT (app_id, key) DO UPDATE SET
    event_id = CASE WHEN {_IS_LATER} THEN excluded.event_id ELSE kept.event_id END,
    created_at = greatest(kept.created_at, excluded.created_at),
    kept_since = greatest(kept.kept_since, excluded.kept_since),
    earlier = trim_array(CASE WHEN {_IS_LATER} THEN ROW(kept.event_id, kept.created_at)::key_use
        ELSE ROW(excluded.event_id, excluded.created_at)::key_use END
        || kept.earlier, greatest(0, cardinality(kept.earlier) - {USES_MAX - 2}))
WHERE NOT EXISTS (SELECT 1 FROM {_USES} WHERE {_IS_SAME.format("excluded.created_at")});
"""  # noqa: S608 - constants of ours
FIND: Final = f"""
UPDATE {{staging}} AS sent SET event_id = (
    SELECT used.event_id FROM idempotency_keys AS kept CROSS JOIN LATERAL {_USES}
    WHERE kept.app_id = sent.app_id AND kept.key = sent.idempotency_key
    AND {_IS_SAME.format("sent.created_at")}
    ORDER BY used.created_at DESC LIMIT 1)
WHERE idempotency_key IS NOT NULL AND event_id IS NULL AND {{which}};
"""  # noqa: S608 - constants of ours
# The same between constants, app by app: what an app has is one node's to look up.
FIND_BY_APP: Final = f"""
DECLARE asked record; found_keys uuid[]; found_ids uuid[]; found_times timestamptz[];
BEGIN
FOR asked IN SELECT app_id, array_agg(idempotency_key) AS keys FROM {{staging}}
    WHERE idempotency_key IS NOT NULL AND event_id IS NULL AND {{which}} GROUP BY app_id
LOOP
SELECT array_agg(kept.key), array_agg(used.event_id), array_agg(used.created_at)
INTO found_keys, found_ids, found_times FROM idempotency_keys AS kept CROSS JOIN LATERAL {_USES}
WHERE kept.app_id = asked.app_id AND kept.key = ANY (asked.keys);
UPDATE {{staging}} AS sent SET event_id = found.event_id FROM (
    SELECT DISTINCT ON (each.ctid) each.ctid AS place, used.event_id FROM {{staging}} AS each
    JOIN unnest(found_keys, found_ids, found_times) AS used (key, event_id, created_at)
    ON used.key = each.idempotency_key AND {_IS_SAME.format("each.created_at")}
    WHERE each.app_id = asked.app_id AND each.event_id IS NULL AND {{which}}
    ORDER BY each.ctid, used.created_at DESC
) AS found WHERE sent.ctid = found.place;
END LOOP;
END;
"""  # noqa: S608 - constants of ours
# One turn, but for a replay of days: there each one records the next day's events. The bound is for
# a time that is no number, and equal to none.
_RESERVE: Final = f"""
FOR turn IN 1..1000 LOOP {_RECORD} {{find}}
EXIT WHEN NOT EXISTS (SELECT 1 FROM {{staging}}
    WHERE idempotency_key IS NOT NULL AND event_id IS NULL AND {{which}});
END LOOP;
UPDATE {{staging}} SET id = event_id, is_retry = true WHERE event_id <> id AND {{which}};
"""  # noqa: S608 - constants of ours
# Begins where the last chunk ended: to walk over what that one deleted costs more each time. Keys
# that a merge or another server has locked are left to the next time, so nobody waits for anybody.
# By created_at as well: a server of the version before sets nothing else when a key is used again.
_FORGET: Final = (
    "WITH old AS (SELECT ctid FROM idempotency_keys AS kept"
    " WHERE kept_since >= $1 AND kept_since < now() - $2::interval"
    " AND created_at < now() - $2::interval"
    " AND NOT EXISTS (SELECT 1 FROM rejected_events AS waiting"
    " WHERE waiting.app_id = kept.app_id AND waiting.idempotency_key = kept.key)"
    " ORDER BY kept_since LIMIT $3 FOR UPDATE SKIP LOCKED),"
    " gone AS (DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM old))"
    " RETURNING kept_since)"
    " SELECT count(*) AS keys, max(kept_since) AS last FROM gone"
)


# The same of one app, whose keys are on one node of Citus: a chunk has to be somewhere.
_APPS_TO_FORGET: Final = (
    "SELECT DISTINCT app_id FROM idempotency_keys WHERE kept_since < now() - $1::interval"
)
_FORGET_OF_APP: Final = (
    "DELETE FROM idempotency_keys WHERE app_id = $1 AND key = ANY (ARRAY("
    "SELECT key FROM idempotency_keys AS kept WHERE app_id = $1"
    " AND kept_since < now() - $2::interval AND created_at < now() - $2::interval"
    " AND NOT EXISTS (SELECT 1 FROM rejected_events AS waiting"
    " WHERE waiting.app_id = $1 AND waiting.idempotency_key = kept.key)"
    " ORDER BY kept_since LIMIT $3 FOR UPDATE SKIP LOCKED)) RETURNING 1"
)


def reserve(staging: str, which: str = "true", find: str = FIND) -> str:
    """Return the PL/pgSQL that finds out which event each staged row with a key is.

    Within a transaction of READ COMMITTED. `staging` is a table of rows with the further columns
    `event_id uuid`, then the event that the key stands for, and `is_retry boolean`, true where that
    is not the row's own. The row's `id` is that event's then. `which` is a condition for the rows,
    `find` one of FIND and FIND_BY_APP.
    """
    return _RESERVE.format(
        staging=staging, which=which, find=find.format(staging=staging, which=which)
    )


async def forget_old(postgres: Postgres) -> int:
    """Delete the keys that nobody needs any more; return how many; raise Unavailable.

    Two million at most, in transactions of 5,000; the rest is left to the next time.
    """
    async with postgres.session(turn=postgres.turns.upkeep) as connection:
        forget = _forget_by_app if postgres.has_citus else _forget
        return await forget(connection)


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


async def _forget_by_app(connection: Connection) -> int:
    """Forget each app's; while a node is away, those of all apps are left to the next time."""
    keys = chunks = 0
    for (app_id,) in await connection.fetch(_APPS_TO_FORGET, KEPT):
        done = _CHUNK_KEYS
        while done and chunks < _CHUNKS_MAX:
            done = len(await connection.fetch(_FORGET_OF_APP, app_id, KEPT, _CHUNK_KEYS))
            keys, chunks = keys + done, chunks + 1
            await asyncio.sleep(_PAUSE_S)
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
