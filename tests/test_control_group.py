"""What a control group limits is what a process has."""

from pathlib import Path

import pytest

from ingest import control_group, cores, memory


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A group within another one, of which the process is."""
    own = tmp_path / "own"
    own.write_text("0::/service/worker\n")
    (tmp_path / "groups/service/worker").mkdir(parents=True)
    monkeypatch.setattr(control_group, "_OWN", own)
    monkeypatch.setattr(control_group, "_GROUPS", tmp_path / "groups")
    return tmp_path / "groups/service/worker"


def test_least_limit_of_all_groups_counts(group: Path) -> None:
    """Where one has none, those above it have."""
    (group / "cpu.max").write_text("max 100000\n")
    (group.parent / "cpu.max").write_text("50000 100000\n")
    (group / "memory.max").write_text(f"{64 << 20}\n")
    (group.parent / "memory.max").write_text(f"{1 << 30}\n")
    assert cores.count() == 1
    assert memory.total_bytes() == 64 << 20


def test_without_limits_it_is_the_machine(group: Path) -> None:
    """As where there are no groups, or nothing that is understood."""
    whole = memory.total_bytes()
    assert whole > 64 << 20
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("plenty\n")
    (group / "cpu.max").write_text("")
    assert memory.total_bytes() == whole
    assert cores.count() >= 1
