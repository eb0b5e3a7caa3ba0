"""A database as the version before this one left it: without what came with reading."""

import pytest

from ingest.app.database import make_partitions
from ingest.config import Config
from ingest.store import migrations
from tests.support.postgres import make_postgres

KNOWN = migrations.known()
LAST = "SELECT max(version) FROM nonito_migrations"


async def make_before(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring an empty database there, with partitions."""
    with monkeypatch.context() as earlier:
        before = KNOWN[: migrations.NEEDED_TO_SERVE]
        earlier.setattr(migrations, "known", lambda: before)
        await migrations.migrate(make_postgres(url))
    await make_partitions(Config(), make_postgres(url)).ensure()
