"""A database and a directory for an archive."""

from pathlib import Path

import pytest

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
