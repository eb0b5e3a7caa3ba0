"""Whose read key it is, looked up over one connection, which is kept while somebody asks."""

from functools import partial

from ingest.store import read_keys
from ingest.store.app_settings import AppSettings
from ingest.store.failures import RowRefused
from ingest.store.kept import Kept
from ingest.store.tokens import digest


class ReaderLookup:
    """Looks keys up, and knows which ones were found lately."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._used: set[bytes] = set()

    async def find(self, secret: str) -> AppSettings | None:
        """Return the app whose valid read key this is; None for any other. Raises Unavailable."""
        try:
            found = await self._kept.read(partial(read_keys.find, secret=secret))
        except RowRefused:  # a text that Postgres takes for none
            return None
        if found is not None:
            self._used.add(digest(secret))
        return found

    async def find_eraser(self, key: bytes) -> str | None:
        """Return what a key begins with, by its digest, if it may erase people; None if not.

        Raises Unavailable.
        """
        return await self._kept.read(partial(read_keys.prefix_if_may_erase, key=key))

    def take_used(self) -> set[bytes]:
        """Return the digests of keys that were found since this was asked last."""
        used, self._used = self._used, set()
        return used
