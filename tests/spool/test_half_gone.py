"""The disk fails while a file of the spool goes: that is done again, and no loss is told of."""

import errno
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingest.spool import Spool, directory, orphans
from ingest.spool.sqlite import database
from tests.spool.spooling import databases, drain, flip_bit, names_in, open_spool
from tests.spool.test_damage import make_file

Logs = list[MutableMapping[str, Any]]
FALSE = ("deleted", "lost", "missing")
"""What is said of files that somebody else has deleted."""
DOUBLE = "EBADF"
"""What is said where a descriptor is closed twice."""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look around each time."""
    monkeypatch.setattr(directory, "LOOK_INTERVAL_S", 0.0)


@pytest.fixture
def logs() -> Iterator[Logs]:
    """What is logged."""
    with capture_logs() as found:
        yield found


def fail(monkeypatch: pytest.MonkeyPatch, step: str) -> list[int]:
    """Have a step fail twice behind what it does; return how often it still will."""
    original, left = getattr(database, step), [2]

    def failing(path: Path) -> object:
        result = original(path)
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, "the disk did it, and said that it did not")
        return result

    monkeypatch.setattr(database, step, failing)
    return left


def keep_locks(monkeypatch: pytest.MonkeyPatch, times: int) -> list[Path]:
    """Have locks not be deleted so many times; return which were not."""
    original = Path.unlink
    kept: list[Path] = []

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.name.endswith(".lock") and len(kept) < times:
            kept.append(path)
            raise OSError(errno.EIO, "not now")
        original(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    return kept


async def look_around(spool: Spool) -> None:
    """Have the spool try again what it could not do."""
    for _ in range(5):
        assert await spool.oldest(1) == []


def false_alarms(logs: Logs) -> list[str]:
    """Return what was said of files that nobody but their process has deleted."""
    said = [f"{entry['event']} {entry.get('reason', '')}" for entry in logs]
    return [each for each in said if any(word in each for word in (*FALSE, DOUBLE))]


@pytest.mark.parametrize("step", ["keep_as_damaged", "delete", "sync_directory"])
async def test_damaged_file_is_kept_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Logs, step: str
) -> None:
    """Wherever the disk failed in between."""
    path = await make_file(tmp_path)
    flip_bit(path, 4)
    async with open_spool(tmp_path) as spool:
        left = fail(monkeypatch, step)
        assert len(await drain(spool)) == 9
        await look_around(spool)
        assert (left, spool.events, spool.damaged_events) == ([0], 0, 2)
        assert spool.newly_damaged_events == 2
    assert names_in(tmp_path) == [f"{path.name}.damaged"]
    kept = [entry["events"] for entry in logs if entry.get("kept_as") == f"{path.name}.damaged"]
    assert (kept, false_alarms(logs)) == ([2], [])


async def test_file_that_is_drained_goes_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    """Also where its database is gone, and what stood beside it is not."""
    await make_file(tmp_path)
    async with open_spool(tmp_path) as spool:
        left = fail(monkeypatch, "delete")
        assert len(await drain(spool)) == 10
        await look_around(spool)
        assert (left, spool.damaged_events) == ([0], 0)
    assert (names_in(tmp_path), false_alarms(logs)) == ([], [])


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("is_damaged", [False, True])
async def test_lock_that_can_not_be_deleted_is_swept_away_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Logs, *, is_damaged: bool, times: int
) -> None:
    """It is let go of once each time: its descriptor may be somebody else's by then."""
    path = await make_file(tmp_path)
    monkeypatch.setattr(orphans, "_AGAIN_MIN_S", 0.0)
    if is_damaged:
        flip_bit(path, 4)
    async with open_spool(tmp_path) as spool:
        kept = keep_locks(monkeypatch, times)
        await drain(spool)
        await look_around(spool)
        assert len(kept) == times
    assert names_in(tmp_path) == ([f"{path.name}.damaged"] if is_damaged else [])
    assert false_alarms(logs) == []


async def test_file_that_somebody_deletes_when_it_is_drained_is_no_loss_but_for_its_damage(
    tmp_path: Path, logs: Logs
) -> None:
    """What was damaged in it can't be kept any more."""
    await make_file(tmp_path)
    async with open_spool(tmp_path) as spool:
        (path,) = databases(tmp_path)
        flip_bit(path, 4)
        batches = await spool.oldest(1_000)
        path.unlink()
        await spool.remove(batches)
        await look_around(spool)
        assert spool.damaged_events == 2
    told = [entry for entry in logs if entry["event"] == "what a file of the spool held is lost"]
    assert [entry["events"] for entry in told] == [2]
    assert names_in(tmp_path) == []
