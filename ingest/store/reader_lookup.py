"""Whose read key it is, looked up over one connection, which is kept while somebody asks."""

from functools import partial

from ingest.store import read_keys
from ingest.store.app_settings import AppSettings
from ingest.store.failures import RowRefused
from ingest.store.kept import Kept


async def find(kept: Kept, secret: str) -> AppSettings | None:
    """Return the app whose valid read key this is; None for any other. Raises Unavailable."""
    try:
        return await kept.read(partial(read_keys.find, secret=secret))
    except RowRefused:  # a text that Postgres takes for none
        return None
