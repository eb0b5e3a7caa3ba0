"""What a dead process leaves in the spool is taken over by those that live, within seconds, once.

No replay has to run for it, so it is the same while Postgres is away.
"""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import pytest

from ingest.spool.lock import is_owned
from ingest.spool.report import status
from tests.spool.spooling import MIB, databases, names_in
from tests.spool.worker import Worker, Workers

pytestmark = pytest.mark.slow

TAKEN_S_MAX = 20.0
"""It takes 3 s at most, on a machine that does nothing else."""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Processes on one directory."""
    with Workers.on(tmp_path) as started:
        yield started


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    stop_s = monotonic() + TAKEN_S_MAX
    while not condition():
        assert monotonic() < stop_s
        sleep(0.05)


def total(figure: str, workers: list[Worker]) -> int:
    """Return a figure of all of them."""
    return sum(worker.ask("state")[figure] for worker in workers)


@pytest.mark.parametrize("ends", ["kill", "end"])
@pytest.mark.parametrize("has_own", [False, True], ids=["empty", "busy"])
def test_living_process_takes_over_what_another_left(
    workers: Workers, ends: str, *, has_own: bool
) -> None:
    """Whether its own spool is empty or not, and however the other one ended."""
    dead, living = workers.start(), workers.start()
    dead.ask("append", 1, 2)
    dead.ask("append_plain", 3)
    if has_own:
        living.ask("append", 4)
    getattr(dead, ends)()
    until(lambda: bool(living.ask("state")["recovered"] == 9))
    assert living.ask("find", 1, 2) == [1, 2]
    assert sorted(living.ask("drain")) == [1, 2, 3, 4][: 3 + has_own]
    assert names_in(workers.directory) == []


def test_of_many_that_look_at_once_one_takes_over_and_counts(workers: Workers) -> None:
    """Each file has one owner then, and each event is recovered once."""
    living = [workers.start() for _ in range(4)]
    number = count()
    for _ in range(3):
        dead = [workers.start() for _ in range(4)]
        for each in dead:
            each.ask("append", next(number), next(number))
        for each in dead:
            each.kill()
        events = 6 * len(dead)
        until(lambda: total("events", living) == events)  # noqa: B023 - it is asked here only
        drained = [number_ for worker in living for number_ in worker.ask("drain")]
        assert len(drained) == len({*drained}) == 2 * len(dead)
    assert total("recovered", living) == 3 * 6 * 4
    assert [worker.ask("logs").count("events are missing in the spool") for worker in living] == [
        0
    ] * 4
    assert names_in(workers.directory) == []


def test_more_files_than_one_may_hold_are_taken_over_as_they_are_drained(workers: Workers) -> None:
    """And keys in those that nobody holds yet are found all the same."""
    dead = [workers.start() for _ in range(6)]
    for n, each in enumerate(dead):
        each.ask("append", n)
    living = [workers.start(files_max=2) for _ in range(2)]
    for each in dead:
        each.kill()
    until(lambda: total("events", living) == 12)
    assert len(databases(workers.directory)) == 6
    for each in living:
        assert each.ask("find", *range(6)) == [*range(6)]
    drained: set[int] = set()

    def are_all_drained() -> bool:
        drained.update(*(each.ask("drain") for each in living))
        return len(drained) == 6

    until(are_all_drained)
    assert total("recovered", living) == 18
    assert names_in(workers.directory) == []


def test_file_whose_new_owner_dies_too_is_taken_over_again(workers: Workers) -> None:
    """In the middle of it, or behind it."""
    first, second, third = (workers.start() for _ in range(3))
    first.ask("append", *range(50))
    third.pause()
    first.kill()
    until(lambda: bool(second.ask("state")["events"] == 150))
    second.kill()
    third.go_on()
    until(lambda: bool(third.ask("state")["events"] == 150))
    assert third.ask("state")["damaged"] == 0
    assert third.ask("drain") == [*range(50)]


def test_killed_and_replaced_under_searches_of_all_others(workers: Workers) -> None:
    """Nothing is lost, damaged or found wrong, wherever the kills fall."""
    searching = [workers.start() for _ in range(2)]
    appended: list[int] = []
    for turn in range(12):
        victim = workers.start(bytes_max=512 * MIB)
        victim.ask("append", turn * 1000)
        appended.append(turn * 1000)
        victim.send("append_large", 100_000, *range(turn * 1000 + 1, turn * 1000 + 30))
        for each in searching:
            assert each.ask("find", *appended) == appended
        victim.kill()
        for each in searching:
            assert each.ask("find", *appended) == appended
    until(lambda: all(is_owned(path) for path in databases(workers.directory)))
    drained = [number for each in searching for number in each.ask("drain")]
    assert len(drained) == len({*drained})
    assert {*appended} <= {*drained}
    assert total("damaged", searching) == 0
    for each in searching:
        assert {*each.ask("logs")} <= {"adopted a file of the spool"}
    until(lambda: names_in(workers.directory) == [])


def test_cap_is_the_whole_directory_s(workers: Workers) -> None:
    """Together they are one batch each over it at most; what one drains, all may fill again."""
    cap = 8 * MIB
    together = [workers.start(bytes_max=cap) for _ in range(3)]
    for n, each in enumerate(together):
        each.send("fill", n * 1000)
    stored = [each.answer() for each in together]
    files = [each for each in workers.directory.iterdir() if each.suffix != ".lock"]
    batch_bytes = 4 * 100_000
    assert sum(each.stat().st_size for each in files) <= cap + len(together) * batch_bytes
    assert sum(stored) * 100_000 > cap // 4
    assert [each.ask("state")["has_room"] for each in together] == [False] * 3
    fullest = max(zip(stored, together, strict=True), key=lambda each: each[0])[1]
    assert fullest.ask("drain")
    until(lambda: all(each.ask("state")["has_room"] for each in together))
    assert sum(each.ask("fill", n * 1000 + 500) for n, each in enumerate(together)) > 0


def test_status_reads_beside_several_owners(workers: Workers) -> None:
    """Each file's events, whoever has it, and leaves nothing."""
    together = [workers.start() for _ in range(3)]
    for n, each in enumerate(together):
        each.ask("append", *range(n + 1))
        each.pause()
    before = names_in(workers.directory)
    found = status(workers.directory)
    assert [each.events for each in found] == [3, 6, 9]
    assert all(each.is_readable and not each.missing_events for each in found)
    assert names_in(workers.directory) == before
