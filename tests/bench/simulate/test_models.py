"""The models do what the things do that they stand for, where promises depend on it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from bench.chance import log_uniform
from bench.simulate import statements
from bench.simulate.cluster import Cluster
from bench.simulate.disk import Disk, Killed
from bench.simulate.loop import SimulatedLoop, Spinning
from bench.simulate.session import Answer, Session
from bench.simulate.statements import PostgresError, Reply
from bench.simulate.tables import read_document
from bench.simulate.world import World
from ingest.events import copy_format
from ingest.events.ids import IdSequence
from ingest.spool.failures import StorageFailed

_LOCK_TIMEOUT_S = 0.8


class Client:
    """One session, and what it has answered."""

    def __init__(self, cluster: Cluster) -> None:
        self.answers: list[Answer] = []
        self.is_hung_up = False
        self.session = Session(cluster, 1, self.answers.append, self._hang_up)

    def copy(self, document: bytes, *, begins: bool = False) -> None:
        """Send a COPY, perhaps in a transaction that lasts."""
        self.session.ask("copy", lambda session: statements.copy(session, document), begins=begins)

    def _hang_up(self) -> None:
        self.is_hung_up = True


@pytest.fixture
def cluster() -> Cluster:
    """An empty Postgres."""
    return Cluster(World(1), commit_timeout_s=1.0, is_pooled=False, factor=1.0)


def documents(count: int) -> Sequence[bytes]:
    """Return COPY documents of a row each."""
    ids, head = IdSequence(), copy_format.row_head(1)
    made = []
    for _ in range(count):
        event_id, _, moment = ids.next()
        row = copy_format.row(head, event_id, b"name", b"{}", moment.row)
        made.append(copy_format.document([row]))
    return made


def go_on(world: World, is_done: Callable[[], bool]) -> None:
    """Have time go on until something is so, or nothing happens any more."""
    while not is_done() and (next_s := world.next_s) is not None:
        world.now_s = max(world.now_s, next_s)
        world.happen()


def test_copy_is_committed_though_its_client_has_gone(cluster: Cluster) -> None:
    """As it has arrived whole: nobody hears of it."""
    (document,) = documents(1)
    client = Client(cluster)
    client.copy(document)
    client.session.leave()
    go_on(cluster.world, lambda: False)
    assert not client.answers
    assert [*cluster.tables.events] == [row.primary_key for row in read_document(document)]


def test_crash_takes_what_is_not_committed(cluster: Cluster) -> None:
    """And no more than that."""
    first, second = documents(2)
    client = Client(cluster)
    client.copy(first)
    go_on(cluster.world, lambda: bool(client.answers))
    client.copy(second)
    cluster.crash()
    go_on(cluster.world, lambda: False)
    assert client.is_hung_up
    assert client.answers[0] == Reply("COPY 1")
    assert [*cluster.tables.events] == [row.primary_key for row in read_document(first)]


def test_row_of_an_open_transaction_is_waited_for(cluster: Cluster) -> None:
    """Until it is committed: then the key is there already."""
    (document,) = documents(1)
    first, second = Client(cluster), Client(cluster)
    first.copy(document, begins=True)
    go_on(cluster.world, lambda: bool(first.answers))
    second.copy(document)
    until_s = cluster.world.now_s + _LOCK_TIMEOUT_S / 2
    cluster.world.at(until_s, lambda: None)
    go_on(cluster.world, lambda: cluster.world.now_s >= until_s)
    assert not second.answers
    first.session.ask("COMMIT", lambda session: statements.commit(session, ""))
    go_on(cluster.world, lambda: bool(second.answers))
    (answer,) = second.answers
    assert isinstance(answer, PostgresError)
    assert answer.sqlstate == "23505"


def test_lock_is_not_waited_for_for_ever(cluster: Cluster) -> None:
    """The wait has its time-out."""
    (document,) = documents(1)
    first, second = Client(cluster), Client(cluster)
    first.copy(document, begins=True)
    go_on(cluster.world, lambda: bool(first.answers))
    second.copy(document)
    go_on(cluster.world, lambda: bool(second.answers))
    (answer,) = second.answers
    assert isinstance(answer, PostgresError)
    assert answer.sqlstate == "55P03"


def test_write_that_the_process_dies_in_is_there_in_part(tmp_path: Path) -> None:
    """Of a log that grows, the front: nothing that was there before is touched."""
    directory, kept = tmp_path / "spool", set[bytes]()
    for seed in range(30):
        world = World(seed)
        disk = Disk(world, directory, 1.0)
        directory.mkdir(exist_ok=True)
        log = directory / "events-wal"
        log.write_bytes(b"before")
        disk.dies_in = 0
        with pytest.raises(Killed):
            disk.write(partial(log.write_bytes, b"before and after"))
        disk.revive()
        kept.add(log.read_bytes())
    assert len(kept) > 5
    assert all(b"before and after".startswith(each) for each in kept)
    assert all(each.startswith(b"before") for each in kept)


def test_power_that_fails_takes_what_was_not_synced(tmp_path: Path) -> None:
    """A killed process leaves it."""
    directory = tmp_path / "spool"
    left = []
    for with_power in (False, True):
        directory.mkdir(exist_ok=True)
        disk = Disk(World(1), directory, 1.0)
        disk.loses_power = with_power
        file = directory / "file"
        disk.write(partial(file.write_bytes, b"synced"))
        disk.is_failing = True
        while file.read_bytes() == b"synced":
            with suppress(StorageFailed):
                disk.write(partial(file.write_bytes, b"written"))
        disk.kill(with_power=with_power)
        disk.revive()
        left.append(file.read_bytes())
    assert left == [b"written", b"synced"]


def test_callbacks_keep_the_order_that_asyncio_promises() -> None:
    """Those that are due at once, in that of their calls; timers by their time."""
    world = World(1)
    loop, told = SimulatedLoop(world, are_timers_first=True), list[int]()
    for number in range(3):
        loop.call_soon(told.append, number)
    loop.call_later(0.2, told.append, 4)
    loop.call_later(0.1, told.append, 3)
    loop.go_on()
    while (wakes_s := loop.wakes_s) is not None:
        world.now_s = max(world.now_s, wakes_s)
        loop.go_on()
    loop.leave()
    loop.close()
    assert told == [0, 1, 2, 3, 4]


def test_input_of_one_connection_keeps_its_order() -> None:
    """That of several comes in any."""
    orders = set()
    for seed in range(20):
        loop, told = SimulatedLoop(World(seed), are_timers_first=False), list[str]()
        for each in ("a1", "b1", "a2", "b2"):
            loop.arrive(each[0], told.append, each)
        loop.go_on()
        loop.leave()
        loop.close()
        assert [each for each in told if each[0] == "a"] == ["a1", "a2"]
        assert [each for each in told if each[0] == "b"] == ["b1", "b2"]
        orders.add(tuple(told))
    assert len(orders) > 1


def test_process_left_alone_wakes_a_little_late_and_never_early() -> None:
    """So that an outage of minutes costs little; one that was just stirred is punctual."""
    world = World(1)
    loop = SimulatedLoop(world, are_timers_first=True)
    begin_s = world.now_s
    for delay_s in (1.0, 12.0, 600.0):
        timer = loop.call_at(begin_s + delay_s, lambda: None)
        wakes_s = loop.wakes_s
        assert wakes_s is not None
        assert 0.0 <= wakes_s - timer.when() <= min(1.0, delay_s / 10)
        assert (wakes_s == timer.when()) == (delay_s == 1.0)
        timer.cancel()
    world.now_s = begin_s + 599.0
    world.stir()
    timer = loop.call_at(begin_s + 600.0, lambda: None)
    assert loop.wakes_s == timer.when()
    loop.close()


def test_loop_that_never_waits_is_noticed() -> None:
    """Else a simulated run would have no end."""
    loop = SimulatedLoop(World(1), are_timers_first=True)

    def again() -> None:
        loop.call_soon(again)

    again()
    with pytest.raises(Spinning):
        loop.go_on()
    loop.leave()
    loop.close()


def test_delays_are_drawn_from_the_seed() -> None:
    """And from nothing else."""
    first, second = World(5), World(5)
    assert log_uniform(first.random, 1, 9) == log_uniform(second.random, 1, 9)
    assert first.entropy.randbytes(8) == second.entropy.randbytes(8)
    assert log_uniform(World(6).random, 1, 9) != log_uniform(World(5).random, 1, 9)
