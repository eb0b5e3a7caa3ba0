"""A database and a directory for an archive, in which there is nothing of anybody."""

import asyncio
from pathlib import Path

import pytest

from ingest.privacy import eraser
from tests.support.postgres import fetch

_EMPTY = (
    "TRUNCATE events, apps, archive_files, person_links, rejected_events, idempotency_keys,"
    " erasures, audit_log RESTART IDENTITY CASCADE;"
    " UPDATE archive_state SET system_identifier = NULL, timeline = NULL, mark = 0,"
    " null_before = NULL, null_done = false"
)


@pytest.fixture
def url(shared_database_url: str) -> str:
    """The module's database without any rows and without an archive; two apps."""

    async def work() -> None:
        for statement in _EMPTY.split(";"):
            await fetch(shared_database_url, statement)
        await fetch(shared_database_url, "INSERT INTO apps (name) VALUES ('one'), ('two')")

    asyncio.run(work())
    return shared_database_url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the archive is."""
    return tmp_path / "archive"


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks anything in these tests: files that count no more are nobody's at once."""
    monkeypatch.setattr(eraser, "_MORE_S", -0.2)
