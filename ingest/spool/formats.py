"""Which storage the spool has. Nobody else names one."""

from typing import Final

from ingest.spool.sqlite import SqliteStorage
from ingest.spool.storage import Storage

STORAGE: Final[Storage] = SqliteStorage()
