"""Where the configured database is; the embedded one runs for as long as it is used.

Imports nothing that speaks to Postgres: the supervisor uses it, and is to stay small.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.config import Config
from ingest.store.embedded import EmbeddedPostgres


@contextmanager
def database(
    settings: Config, begin: Callable[[EmbeddedPostgres], None] = EmbeddedPostgres.join
) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
    """Yield the database's URL, and the embedded Postgres if that is what it is; `begin` starts it.

    It has to be there: what makes one is `nonito serve`.
    """
    if settings.database.url:
        yield settings.database.url, None
        return
    embedded = EmbeddedPostgres(Path(settings.database.data_dir))
    begin(embedded)
    try:
        yield embedded.url, embedded
    finally:
        embedded.stop()
