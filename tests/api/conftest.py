"""One server that is asked, for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.api.asked import Asked, asked_server


@pytest.fixture(scope="module")
def asked(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A server of the module's own; tests leave it as it was, but for more events."""
    with asked_server(shared_database_url, tmp_path_factory.mktemp("archive")) as running:
        yield running
