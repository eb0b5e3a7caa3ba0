"""Where the configured database is; the embedded one runs for as long as it is used.

Imports nothing that speaks to Postgres, and the embedded one only where it is used: the supervisor
lives as long as the server, and is to stay small.
"""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.store.embedded import EmbeddedPostgres


@contextmanager
def database(
    settings: Config, *, may_be_new: bool = False
) -> "Iterator[tuple[str, EmbeddedPostgres | None]]":
    """Yield the database's URL, and the embedded Postgres if that is what it is.

    That has to be there, unless it `may_be_new`: what makes one is `nonito serve`.
    """
    if settings.database.url:
        yield settings.database.url, None
        return
    from ingest.store.embedded import EmbeddedPostgres  # noqa: PLC0415 - 2 MB

    embedded = EmbeddedPostgres(Path(settings.database.data_dir))
    (embedded.start if may_be_new else embedded.join)()
    try:
        yield embedded.url, embedded
    finally:
        embedded.stop()
