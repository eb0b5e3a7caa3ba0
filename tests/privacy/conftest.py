"""A database and a directory for an archive, in which there is nothing of anybody."""

from pathlib import Path

import pytest

from ingest.privacy import eraser
from tests.support.archived import make_empty


@pytest.fixture
def url(shared_database_url: str) -> str:
    """The module's database without any rows and without an archive; two apps."""
    make_empty(shared_database_url)
    return shared_database_url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the archive is."""
    return tmp_path / "archive"


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks anything in these tests: files that count no more are nobody's at once."""
    monkeypatch.setattr(eraser, "_MORE_S", -0.2)
