"""What tests of the embedded Postgres share: a place of their own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.postmaster import postmaster
from tests.support.postgres import passable_directory
from tests.support.server import is_alive, wait_for


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path; what runs below it is ended with the test."""
    with passable_directory() as directory:
        yield directory
        for found in directory.rglob("postmaster.pid"):
            if process := postmaster(found.parents[1]):
                process.send_signal(signal.SIGQUIT)
                wait_for(lambda ended=process: not is_alive(ended))
