"""What a question may take of a machine, where nobody has said it."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from ingest import cores, memory
from ingest.archive import view
from ingest.config import Config

MIB = 1 << 20


def memory_of(threads: int, most: int) -> int:
    """Return how many bytes a question has with these settings."""
    config = Config()
    dashboard = replace(config.dashboard, question_threads=threads, question_memory_max=most)
    return view.views_of(replace(config, dashboard=dashboard), "")._bounds.memory_max


def test_question_has_a_sixteenth_and_what_its_threads_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not more than 4 GiB; what is set counts, unless threads can't work with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cores, "count", lambda: 8)
    found = {}
    for gib in (1, 16, 256):
        monkeypatch.setattr(memory, "total_bytes", lambda gib=gib: gib << 30)
        found[gib] = memory_of(0, 0) // MIB, memory_of(1, 0) // MIB
    assert found == {1: (256, 64), 16: (1024, 1024), 256: (4096, 4096)}
    assert memory_of(2, 300 * MIB) == 300 * MIB
    assert memory_of(4, 100 * MIB) == 256 * MIB
