"""A database whose archive is to be begun, for tests that share the database."""

import asyncio

from tests.support.postgres import fetch

_EMPTY = (
    (
        "TRUNCATE events, apps, archive_files, person_links, retention, rejected_events,"
        " idempotency_keys, erasures, audit_log RESTART IDENTITY CASCADE"
    ),
    (
        "UPDATE archive_state SET system_identifier = NULL, timeline = NULL, mark = 0,"
        " null_before = NULL, null_done = false"
    ),
    "INSERT INTO apps (name) VALUES ('one'), ('two')",
)


def make_empty(url: str) -> None:
    """Leave no rows and no archive in a database, and two apps."""

    async def work() -> None:
        for statement in _EMPTY:
            await fetch(url, statement)

    asyncio.run(work())
