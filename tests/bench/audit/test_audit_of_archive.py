"""The audit with an archive: an honest one answers exactly, each seeded bug of it is noticed."""

from pathlib import Path

import pytest

from bench.audit.bugs import BUGS
from ingest.supervisor import insights
from tests.bench.audit.test_audit import audit, directory, was_caught

pytestmark = [
    pytest.mark.archive_audit,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not insights.is_installed(), reason="there is no archive without the extra"),
]
__all__ = ["directory"]


def test_honest_archive_keeps_every_promise(directory: Path) -> None:
    """The first faults of a run with all kinds."""
    result = audit(directory, faults=25, only=(), has_archive=True)
    assert not [verdict for verdict in result.verdicts if not verdict.is_kept]


@pytest.mark.parametrize("name", [name for name, bug in BUGS.items() if bug.is_archives])
def test_seeded_bug_is_caught(directory: Path, name: str) -> None:
    """By an answer to a question that was asked meanwhile, or by `archive verify`."""
    assert was_caught(directory, name)
