"""What tests of the delivery share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest.spool import Spool


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """A spool of the test's own."""
    opened = Spool(tmp_path, bytes_max=10**8, free_bytes_min=0, timeout_s=10)
    await opened.open()
    yield opened
    await opened.close()
