"""A retry finds its first try in the spool of any process of its server, and disturbs nobody."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from structlog.testing import capture_logs

from ingest.spool import Spool, owner
from tests.spool.spooling import (
    MIB,
    TIMEOUT_S,
    append_with_keys,
    databases,
    drain,
    make_batch,
    make_large_batch,
    names_in,
    rows_by_key,
)
from tests.spool.worker import Workers
from tests.support import trace

pytestmark = pytest.mark.slow

ODD = 100_000
"""As many bytes as the batches of `churn` have."""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Processes on one directory."""
    with Workers.on(tmp_path) as started:
        yield started


async def opened(workers: Workers) -> Spool:
    """Return this process's own part of their spool."""
    spool = Spool(
        workers.directory,
        notes=workers.join(),
        bytes_max=64 * MIB,
        free_bytes_min=0,
        timeout_s=TIMEOUT_S,
    )
    await spool.open()
    return spool


def until(condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until something is so."""
    stop_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < stop_s
        time.sleep(0.02)


def traces(directory: Path) -> dict[str, tuple[int, int]]:
    """Return the size of each file, and when it was written last."""
    return {
        each.name: (each.stat().st_size, each.stat().st_mtime_ns) for each in directory.iterdir()
    }


def test_first_try_is_found_in_a_living_process_s_file(workers: Workers) -> None:
    """Right behind the answer to it; not once it is drained."""
    first, second = workers.start(), workers.start()
    assert not second.ask("state")["has_keys"]
    for number in range(1, 20):
        first.ask("append", number)
        assert second.ask("find", number) == [number]
    first.ask("append_plain", 20)
    second.ask("append", 21)
    assert second.ask("find", *range(30)) == [*range(1, 20), 21]
    assert first.ask("find", *range(30)) == [*range(1, 20), 21]
    assert first.ask("drain") == [*range(1, 21)]
    assert second.ask("find", *range(30)) == [21]
    assert first.ask("find", *range(30)) == [21]
    assert first.ask("logs") == second.ask("logs") == []


def test_keys_are_noted_before_the_answer_and_until_the_last_is_gone(workers: Workers) -> None:
    """So that nobody searches when there is nothing to be found."""
    first, second = workers.start(), workers.start()
    first.ask("append_plain", 1)
    assert workers.noted == []
    first.ask("append", 2)
    assert workers.noted == [first.slot]
    assert second.ask("state")["has_keys"]
    first.ask("drain")
    assert workers.noted == []
    assert not second.ask("state")["has_keys"]


@pytest.mark.parametrize("how", ["kill", "end"])
def test_note_counts_when_its_process_ends_with_keys(workers: Workers, how: str) -> None:
    """Until somebody else has its files, and has noted that; and is gone with the last key."""
    first, second = workers.start(), workers.start()
    first.ask("append", 1)
    second.pause()
    getattr(first, how)()
    assert (workers.noted, workers.are_keys_known) == ([], True)
    second.go_on()
    until(lambda: workers.noted == [second.slot])
    assert second.ask("drain") == [1]
    until(lambda: not workers.are_keys_known)


def test_first_try_is_found_while_its_process_does_not_move(workers: Workers) -> None:
    """A look waits for nobody, and leaves nothing: no file, no byte, no descriptor."""
    first, second = workers.start(), workers.start()
    first.ask("append", 1, 2, 3)
    first.pause()
    descriptors = psutil.Process(second.pid).num_fds()
    before = traces(workers.directory)
    for _ in range(20):
        assert second.ask("find", 1, 2, 3, 4) == [1, 2, 3]
    assert traces(workers.directory) == before
    assert psutil.Process(second.pid).num_fds() == descriptors
    first.go_on()
    first.ask("append", 4)
    assert first.ask("drain") == [1, 2, 3, 4]


def test_first_try_is_found_in_a_file_that_its_owner_has_closed(workers: Workers) -> None:
    """Without a log beside it; and none is made."""
    first, second = workers.start(bytes_max=8 * MIB), workers.start()
    first.ask("append_large", 300_000, *range(20))
    assert len(databases(workers.directory)) > 1
    closed = [path for path in databases(workers.directory) if not _log_of(path).exists()]
    assert closed
    before = traces(workers.directory)
    assert sorted({*second.ask("find_large", 300_000, *range(20))}) == [*range(20)]
    assert traces(workers.directory) == before


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def test_owner_appends_checkpoints_and_drains_beside_searches(workers: Workers) -> None:
    """Nothing fails, nothing is damaged, nothing wrong is found, and nothing stays behind."""
    owner_, *others = (workers.start(bytes_max=16 * MIB) for _ in range(3))
    owner_.send("churn", 0, 200)
    for other in others * 20:
        other.ask("find_large", ODD, *range(200))
    assert owner_.answer() is None
    left = [*range(0, 200, 10)]
    for other in others:
        assert sorted({*other.ask("find_large", ODD, *range(200))}) == left
    assert owner_.ask("state")["damaged"] == 0
    assert owner_.ask("drain") == left
    assert [worker.ask("logs") for worker in (owner_, *others)] == [[], [], []]
    until(lambda: not names_in(workers.directory))


@pytest.mark.parametrize("batches", [1, 7, 60])
def test_first_try_is_found_in_a_dead_process_s_file_that_nobody_adopts(
    workers: Workers, batches: int
) -> None:
    """Whoever holds as many files as it may looks into the others, and leaves them as they are."""
    first = workers.start()
    first.ask("append", *range(batches))
    first.kill()
    before = traces(workers.directory)
    second = workers.start(files_max=0)
    assert second.ask("state") | {"recovered": 0} == second.ask("state")
    assert second.ask("state")["has_keys"]
    assert second.ask("find", *range(batches + 1)) == [*range(batches)]
    assert traces(workers.directory) == before


def test_keys_of_a_file_from_before_the_start_count(workers: Workers) -> None:
    """Without a note of anybody's: the machine may have been started anew."""
    first = workers.start()
    first.ask("append", 1)
    first.kill()
    another = workers.again()
    second, third = another.start(files_max=0), another.start(files_max=0)
    assert another.noted == [second.slot, third.slot]
    assert second.ask("find", 1) == third.ask("find", 1) == [1]


def test_file_of_another_database_is_not_searched(workers: Workers) -> None:
    """Whoever has the same number there is another client."""
    first = workers.start()
    first.ask("append", 1)
    (path,) = databases(workers.directory)
    other = path.with_name(f"{path.stem}-{uuid4().hex}.db")
    first.pause()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).rename(other.with_name(other.name + suffix))
    owner.claim(workers.directory, uuid4())
    second = workers.start()
    assert second.ask("state")["has_keys"]
    assert second.ask("find", 1) == []


async def test_unreadable_neighbour_is_told_of_once_and_hides_no_other(
    workers: Workers, tmp_path: Path
) -> None:
    """Its rows are found again once it can be read."""
    first, second = workers.start(), workers.start()
    first.ask("append", 1)
    (path,) = databases(workers.directory)
    second.ask("append", 2)
    spool = await opened(workers)
    asked = rows_by_key(make_batch(1), make_batch(2))
    shm = path.with_name(f"{path.name}-shm")
    away = shm.rename(tmp_path / "away")
    with capture_logs() as logs:
        for _ in range(3):
            assert await spool.find([*asked]) == rows_by_key(make_batch(2))
    assert [each.get("file") for each in logs] == [path.name]
    assert not shm.exists()
    away.rename(shm)
    assert await spool.find([*asked]) == asked
    await spool.close()


def test_damaged_neighbour_shows_nobody_a_wrong_row(workers: Workers) -> None:
    """What is damaged is left to its owner, who quarantines it."""
    first = workers.start()
    first.ask("append_large", 100_000, 1, 2)
    (path,) = databases(workers.directory)
    log = bytearray(_log_of(path).read_bytes())
    at = log.rindex(b"x" * 1000)
    log[at + 500] ^= 1
    _log_of(path).write_bytes(log)
    second = workers.start()
    assert {*second.ask("find_large", 100_000, 1, 2)} == {1}
    assert second.ask("logs") == []
    assert path.exists()


async def test_adopted_file_is_one_s_own_after_a_look_into_it(tmp_path: Path) -> None:
    """A file that was looked into as a neighbour's is written, searched and drained like any."""
    with Workers.on(tmp_path) as workers:
        first = workers.start()
        first.ask("append", *range(10))
        spool = await opened(workers)
        asked = rows_by_key(*map(make_batch, range(10)))
        assert await spool.find([*asked]) == asked
        first.kill()
        assert await spool.find([*asked]) == asked
        await spool._do(spool._directory.look_again)
        assert (spool.events, spool.recovered_events) == (30, 30)
        assert await spool.find([*asked]) == asked
        own = await append_with_keys(spool, make_large_batch(11))
        assert await spool.find([*asked, *own]) == asked | own
        assert await drain(spool) == [*range(10), 11]
        await spool.close()
        assert names_in(workers.directory) == []


def test_what_a_dead_process_wrote_is_synced_before_it_is_told_of(workers: Workers) -> None:
    """It may have been killed between writing and syncing; the machine may stop next."""
    if obstacle := trace.obstacle():
        pytest.skip(obstacle)
    first = workers.start()
    first.ask("append", 1)
    first.kill()
    (path,) = databases(workers.directory)
    second = workers.start(files_max=0)
    output = workers.directory.parent / "trace"
    with trace.tracing(second.pid, output):
        assert second.ask("find", 1) == [1]
    assert _log_of(path) in _synced(output)


def test_what_is_taken_over_is_synced_first(workers: Workers) -> None:
    """Or a retry would be answered by what a power cut takes."""
    if obstacle := trace.obstacle():
        pytest.skip(obstacle)
    first, second = workers.start(), workers.start()
    first.ask("append", 1)
    (path,) = databases(workers.directory)
    output = workers.directory.parent / "trace"
    with trace.tracing(second.pid, output):
        first.kill()
        until(lambda: bool(second.ask("state")["recovered"]))
    assert _log_of(path) in _synced(output)


def _synced(output: Path) -> set[Path]:
    with output.open() as lines:
        calls = trace.parse(lines)
    return {Path(call.path) for call in calls if "sync" in call.name and call.result == 0}


def test_search_of_a_neighbour_opens_one_file_at_a_time(workers: Workers) -> None:
    """However many there are."""
    for number in range(20):
        worker = workers.start()
        worker.ask("append", number)
        worker.kill()
        (workers.directory / "hidden").mkdir(exist_ok=True)
        for path in workers.directory.glob("events-*"):
            path.rename(workers.directory / "hidden" / path.name)
    for path in (workers.directory / "hidden").iterdir():
        path.rename(workers.directory / path.name)
    second = workers.start(files_max=0)
    limit = psutil.Process(second.pid).num_fds() + 6
    psutil.Process(second.pid).rlimit(psutil.RLIMIT_NOFILE, (limit, limit))
    assert second.ask("find", *range(21)) == [*range(20)]
    assert second.ask("logs") == []
