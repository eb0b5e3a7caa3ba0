"""Fixtures of the audit's judges."""

from pathlib import Path

import pytest

from tests.bench.audit.scenario import Scenario


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """An empty history with forty good events in it already."""
    made = Scenario(tmp_path)
    for number in range(40):
        made.acked(202 if number % 5 == 0 else 200)
    return made
