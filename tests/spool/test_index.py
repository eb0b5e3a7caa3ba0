"""The index of keys: what it may add to a file is known before."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.spool.sqlite import SqliteStorage, database, index

BATCH_KEYS = [1, 1, 1, 10, 100, 1_000, 5_000, 10_000]
numbers = random.Random(1)
KINDS: dict[str, Callable[[int], bytes]] = {
    "scattered": lambda _: b"k" + numbers.randbytes(20),
    "increasing": lambda n: b"i" + bytes(4) + n.to_bytes(16, "big"),
    "decreasing": lambda n: b"i" + bytes(4) + (-n).to_bytes(16, "big", signed=True),
    "of many apps": lambda n: b"i" + (n % 300).to_bytes(4, "big") + n.to_bytes(16, "big"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("segment_keys", [20_000, index.SEGMENT_KEYS])
def test_keys_dirty_no_more_pages_than_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, segment_keys: int
) -> None:
    """Whatever their order, however full the segment is."""
    monkeypatch.setattr(index, "SEGMENT_KEYS", segment_keys)
    path, made = tmp_path / "events.db", 0
    file = SqliteStorage().create(path)
    while made < 2 * segment_keys:
        count = numbers.choice(BATCH_KEYS)
        keys = [KINDS[kind](made + n) for n in range(count)]
        bytes_max, before = file.append_bytes_max(0, count), database.wal_size(path)
        file.append(b"", count, [(key, 1_000_000 + n) for n, key in enumerate(keys)])
        assert 2 * (database.wal_size(path) - before) <= bytes_max  # a checkpoint writes as much
        made += count
    file.close()
