"""What tests of the delivery share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest.delivery import replay
from ingest.spool import Spool
from ingest.store import health
from tests.delivery.going import Going


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """A spool of the test's own."""
    opened = Spool(tmp_path, bytes_max=10**8, free_bytes_min=0, timeout_s=10)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe often, and let what was passed by come again soon."""
    monkeypatch.setattr(health, "_INTERVAL_S", 0.05)
    monkeypatch.setattr(replay, "_AGAIN_MIN_S", 0.2)
    monkeypatch.setattr(replay, "_AGAIN_MAX_S", 0.2)


@pytest.fixture
def going(own_url: str, spool: Spool, hurry: None) -> Going:  # noqa: ARG001 - to go on soon
    """A replayer on a database whose schema the test may change."""
    return Going(own_url, spool, commit_timeout_s=5.0)
