"""A storage of SQLite databases: `storage.py` of the spool says what it promises.

The only package that knows SQLite. A file is a database with a write-ahead log, `synchronous=FULL`:
a COMMIT is on the disk when it returns.
"""

from ingest.spool.sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
