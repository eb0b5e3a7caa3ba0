"""The command, and a database for it."""

import asyncio

import pytest

from tests.store.events import empty
from tests.support.command import Nonito, run_here


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command without a process of its own, for tests that start nothing."""
    return run_here(monkeypatch, capfd)


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """The module's database without any rows; its schema is nobody's to change."""
    asyncio.run(empty(shared_database_url))
    return shared_database_url
