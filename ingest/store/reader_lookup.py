"""Whose read key it is, looked up over one connection, which is kept while somebody asks."""

from typing import Final

import structlog

from ingest.store import read_keys
from ingest.store.app_settings import AppSettings
from ingest.store.failures import RowRefused, Unavailable, while_sending
from ingest.store.postgres import Connection, Postgres, close

log = structlog.get_logger(__name__)

_TIMEOUT_S: Final = 5.0


class ReaderLookup:
    """One look-up at a time."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._connection: Connection | None = None

    async def find(self, secret: str) -> AppSettings | None:
        """Return the app whose valid read key this is; None for any other. Raises Unavailable."""
        try:
            return await self._find(secret)
        except Unavailable as failure:  # what was kept may have died long ago
            log.info("a key is looked up again", reason=failure.reason)
            return await self._find(secret)

    async def _find(self, secret: str) -> AppSettings | None:
        if self._connection is None:
            self._connection = await self._postgres.connect(_TIMEOUT_S)
        try:
            return await read_keys.find(self._connection, secret)
        except Exception as error:
            await self.rest()
            failure = while_sending(error)
            if isinstance(failure, RowRefused):  # a text that Postgres takes for none
                return None
            raise failure from error

    async def rest(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection, _TIMEOUT_S)
