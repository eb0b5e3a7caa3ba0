"""When each API key was used last, by the minute: so that people see which ones nobody needs.

No request waits for it: whoever looks keys up keeps a set of those that were used, and once a
minute it is written, in one statement. While that is not possible, what was to be written is kept;
what a process has not written when it ends is lost, which is of a minute.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection
from typing import Final

import structlog

from ingest.store.failures import Unavailable
from ingest.store.postgres import Connection, Postgres
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

INTERVAL_S: Final = 60.0
_TIMEOUT_S: Final = 5.0
_KEYS_MAX: Final = 10_000
"""So many are written at once, and kept while they can't be."""
# In the order of the keys, so that processes which note the same ones never wait for each other in
# a circle. Not where another process has noted a use as late as that: no such row is even locked.
# By this server's clock, unless that is ahead.
_WRITE: Final = (
    "INSERT INTO api_key_uses AS known (secret_sha256, used_at)"
    " SELECT key, at FROM unnest($1::bytea[], $2::float8[]) AS used (key, used_s),"
    " LATERAL (SELECT least(to_timestamp(used_s), now()) AS at) AS seen"
    " WHERE NOT EXISTS (SELECT FROM api_key_uses WHERE secret_sha256 = key"
    "  AND used_at > at - make_interval(secs => $3))"
    " ORDER BY key"
    " ON CONFLICT (secret_sha256)"
    " DO UPDATE SET used_at = greatest(known.used_at, excluded.used_at)"
)

Take = Callable[[], Collection[bytes]]
"""Returns the digests of keys that were used since it was asked last."""


class LastUses:
    """Writes what one process has seen."""

    def __init__(self, postgres: Postgres, take: Take) -> None:
        self._postgres = postgres
        self._take = take
        self._unwritten: dict[bytes, float] = {}
        """When each was used, as Unix time."""
        self._reason = ""
        """Why the last try failed; empty if it did not."""

    async def run(self) -> None:
        """Write for ever, once a minute; an outage only delays it."""
        while True:
            await asyncio.sleep(INTERVAL_S * random.uniform(0.8, 1.0))  # noqa: S311 - jitter
            await self.write()

    async def write(self) -> None:
        """Write what was used since the last time, and what could not be written then."""
        self._note()
        if not self._unwritten:
            return
        try:
            async with self._postgres.session(_TIMEOUT_S) as connection:
                await self._write(connection)
        except Unavailable as failure:
            self._complain(failure.reason)
        except Exception as error:  # noqa: BLE001 - asyncpg has many, InternalClientError too
            self._complain(reason_of(error))
        else:
            self._unwritten.clear()
            self._reason = ""

    def _note(self) -> None:
        used = dict.fromkeys(self._take(), time.time())
        before = {key: at for key, at in self._unwritten.items() if key not in used}
        self._unwritten = dict([*used.items(), *before.items()][:_KEYS_MAX])

    async def _write(self, connection: Connection) -> None:
        keys, times = [*self._unwritten], [*self._unwritten.values()]
        await connection.execute(_WRITE, keys, times, INTERVAL_S / 2, timeout=_TIMEOUT_S)

    def _complain(self, reason: str) -> None:
        if reason != self._reason:
            log.warning("the last use of API keys can't be noted", reason=reason)
        self._reason = reason
