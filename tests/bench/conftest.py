"""What the tests of commands share that start a Postgres of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import servers


@pytest.fixture
def here(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the command use the test's database in place of a temporary Postgres."""

    @contextmanager
    def given(_: frozenset[int]) -> Iterator[str]:
        yield database_url

    monkeypatch.setattr(servers, "temporary_postgres", given)
    return database_url
