"""What is found by keys when something fails: never the wrong row, and no event is lost by it."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.spool import SpoolFailed
from ingest.spool import directory as spool_directory
from ingest.spool.sqlite import index as spool_index
from tests.spool.spooling import (
    MIB,
    append_with_keys,
    appending_process,
    databases,
    drain,
    edit,
    file_size_limit,
    flip_bit,
    keys_of,
    make_batch,
    make_large_batch,
    names_in,
    number_of,
    open_spool,
    rows_by_key,
)
from tests.store.events import until

BROKEN = [
    "at = at + 1",
    "at = 0",
    "at = -1",
    "at = 1 << 40",
    "at = 'x'",
    "batch = 'x'",
    "batch = -9223372036854775808",
    "batch = batch % 3 + 1",
    "segment = 'x'",
    "segment = x'00'",
]


@pytest.mark.parametrize("lines", [1, 2, 31, 90, 201])
async def test_batch_and_its_keys_survive_a_kill_together_or_not_at_all(
    tmp_path: Path, lines: int
) -> None:
    """At any moment."""
    with appending_process(tmp_path) as process:
        process.wait_for(lines)
        process.kill()
    async with open_spool(tmp_path) as spool:
        batches = await spool.oldest(10**9)
        assert sum(len(batch.rows) for batch in batches) == spool.events
        left = rows_by_key(*(batch.rows for batch in batches if number_of(batch) % 2))
        last = max(process.appended) + 1
        asked = [key for n in range(1, last + 1, 2) for key in keys_of(make_batch(n, 1 + n % 200))]
        assert await spool.find(asked) == left


async def test_failed_append_leaves_neither_rows_nor_keys(tmp_path: Path) -> None:
    """A disk that fails in the middle of it."""
    async with open_spool(tmp_path) as spool:
        stored = await append_with_keys(spool, make_batch(1))
        lost = make_large_batch(2, MIB)
        with file_size_limit(MIB // 2), pytest.raises(SpoolFailed):
            await append_with_keys(spool, lost)
        assert await spool.find([*stored, *keys_of(lost)]) == stored
    async with open_spool(tmp_path) as spool:
        assert await spool.find([*stored, *keys_of(lost)]) == stored
        assert await drain(spool) == [1]


async def test_rows_removed_from_a_failed_file_are_not_found(tmp_path: Path) -> None:
    """Though they are still on the disk."""
    async with open_spool(tmp_path) as spool:
        gone = await append_with_keys(spool, make_batch(1))
        left = await append_with_keys(spool, make_batch(2))
        with file_size_limit(MIB // 2), pytest.raises(SpoolFailed):
            await spool.append(make_large_batch(3, MIB))
        await spool.remove(await spool.oldest(1))
        assert await spool.find([*gone, *left]) == left


@pytest.mark.parametrize("first", ["find", "drain"])
async def test_damaged_batch_is_not_found_and_costs_no_other(tmp_path: Path, first: str) -> None:
    """It is quarantined at once, and counted."""
    async with open_spool(tmp_path) as spool:
        damaged = await append_with_keys(spool, make_batch(1))
        left = await append_with_keys(spool, make_batch(2))
        flip_bit(databases(tmp_path)[0], 1)
        if first == "drain":
            assert number_of((await spool.oldest(1))[0]) == 2
        assert await spool.find([*damaged, *left]) == left
        assert (spool.events, spool.damaged_events) == (3, 3)
        assert await spool.find([*damaged, *left]) == left
        assert await drain(spool) == [2]


async def test_file_whose_only_batch_is_damaged_is_finished_by_a_search(tmp_path: Path) -> None:
    """Like by a drain."""
    async with open_spool(tmp_path) as spool:
        damaged = await append_with_keys(spool, make_batch(1))
        (path,) = databases(tmp_path)
        flip_bit(path, 1)
        assert await spool.find(list(damaged)) == {}
        assert (spool.has_dedup_keys, spool.is_empty, spool.damaged_events) == (False, True, 3)
    assert names_in(tmp_path) == [f"{path.name}.damaged"]


@pytest.mark.parametrize("when", ["open", "closed"])
@pytest.mark.parametrize("change", [f"UPDATE keys SET {each}" for each in BROKEN])
async def test_damaged_index_shows_nobody_the_wrong_row(
    tmp_path: Path, change: str, when: str
) -> None:
    """It is told of, and costs no event."""
    async with open_spool(tmp_path) as spool:
        left = await append_with_keys(spool, *map(make_batch, range(3)))
    if when == "closed":
        edit(databases(tmp_path)[0], change)
    async with open_spool(tmp_path) as spool:
        if when == "open":
            edit(databases(tmp_path)[0], change)
        with capture_logs() as logs:
            found = await spool.find(list(left))
            assert found.items() < left.items()
        assert [each["event"] for each in logs] == ["a file of the spool can't be used now"]
        assert await drain(spool) == [0, 1, 2]
        assert spool.damaged_events == 0


async def test_missing_index_is_told_of_and_costs_nothing(tmp_path: Path) -> None:
    """While the file is open; of one that was made without it there is nothing to tell."""
    async with open_spool(tmp_path) as spool:
        left = await append_with_keys(spool, make_batch(1))
        edit(databases(tmp_path)[0], "DROP TABLE keys")
        with capture_logs() as logs:
            assert await spool.find(list(left)) == {}
        assert len(logs) == 1
    async with open_spool(tmp_path) as spool:
        assert not spool.has_dedup_keys
        assert await drain(spool) == [1]


async def test_unreadable_file_is_told_of_and_hides_no_other(tmp_path: Path) -> None:
    """Once it can be read again, its rows are found again."""
    async with open_spool(tmp_path) as spool:
        hidden = await append_with_keys(spool, make_batch(1))
    async with open_spool(tmp_path) as spool:
        left = await append_with_keys(spool, make_batch(2))
        path = databases(tmp_path)[0]
        for file in spool._directory._files:
            file.close()
        away = path.rename(tmp_path / "away")
        with capture_logs() as logs:
            assert await spool.find([*hidden, *left]) == left
            assert await spool.find([*hidden, *left]) == left
        assert [each["file"] for each in logs] == [path.name]
        away.rename(path)
        assert await spool.find([*hidden, *left]) == hidden | left


async def test_search_without_an_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not keep its caller waiting for longer than any other operation."""
    monkeypatch.setattr(spool_directory, "STEP_S_MAX", 0.0)
    monkeypatch.setattr(spool_index, "_QUERY_KEYS", 1)
    async with open_spool(tmp_path) as spool:
        found = await append_with_keys(spool, make_batch(1))
        unknown = keys_of(make_batch(2, 50_000))
        monkeypatch.setattr(spool, "_timeout_s", 0.3)
        with pytest.raises(SpoolFailed):
            await spool.find(unknown)
        monkeypatch.undo()
        await until(lambda: spool.has_room)
        assert await spool.find(list(found)) == found
