"""The segment: what one process publishes all others read whole, and it outlives the process."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingest.errors import StartupError
from ingest.share.labels import LABELS_MAX
from ingest.share.member import Member
from ingest.share.segment import Segment
from ingest.share.slot import Figures
from tests.support.server import ROOT, wait_for

COUNTS = 300
KILLS = 200
PUBLISH = """
import os, sys
from ingest.share.segment import Segment
from ingest.share.slot import Figures

segment = Segment.attach(int(sys.argv[1]))

def publish(index):
    slot = segment.slots[index]
    slot.enter()
    count = 0
    while True:
        count += 1
        slot.beat()
        slot.publish(Figures([count] * 300, [count % 7], [count] * 30))

"""
PUBLISHING = f"{PUBLISH}publish(int(sys.argv[2]))"
PARENT = f"""{PUBLISH}
for line in sys.stdin:
    child = os.fork()
    if not child:
        publish(int(line))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
READING = """
import sys
from ingest.share.segment import Segment

segment, last, reads = Segment.attach(int(sys.argv[1])), 0, 0
while True:
    reading = segment.read()
    counts = set(reading.counts)
    assert len(counts) <= 1, f"torn: {counts}"
    now = counts.pop() if counts else 0
    assert now >= last, f"it went down from {last} to {now}"
    last, reads = now, reads + 1
    if reads % 100 == 0:
        print(reads, flush=True)
"""
LEARNING = """
import sys
from ingest.share.segment import Segment

segment, start = Segment.attach(int(sys.argv[1])), int(sys.argv[2])
for app in range(start, 60, 3):
    while not segment.labels.learn({app: f"app {app}"}):
        pass
    assert segment.labels.place_of(app) in range(51)
"""


def spawn(code: str, segment: Segment, *arguments: int) -> subprocess.Popen[bytes]:
    """Run code in another process that has the segment."""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(segment.descriptor), *map(str, arguments)],
        pass_fds=[segment.descriptor],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextmanager
def reading(segment: Segment) -> Iterator[None]:
    """Have another process read all the while, and find nothing torn and nothing that went down."""
    with spawn(READING, segment) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        reader.stdout.readline()
        try:
            yield
            reader.stdout.readline()
        finally:
            reader.terminate()
        assert reader.stderr.read() == b""


class Parent:
    """A process whose children publish without a pause, one after the other."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def begin(self, index: int) -> int:
        """Have a child publish in a slot; return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % index)
        self._process.stdin.flush()
        return self._hear()

    def kill(self, child: int) -> None:
        """Kill it, and wait until it is gone."""
        os.kill(child, signal.SIGKILL)
        assert self._hear() == signal.SIGKILL

    def _hear(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def killed(segment: Segment, parent: Parent) -> int:
    """Have a process publish, and kill it; return its slot."""
    index = segment.take_slot(0)
    assert segment.slots[index].figures == Figures()
    child = parent.begin(index)
    wait_for(lambda: segment.slots[index].figures.counts)
    parent.kill(child)
    return index


def test_every_process_reads_what_one_publishes() -> None:
    """By the descriptor alone."""
    made = Segment.create(workers=2)
    other = Segment.attach(os.dup(made.descriptor))
    index = made.take_slot(1)
    other.slots[index].publish(Figures([1, 2], [3], [0.5], [7.0]))
    other.slots[index].connections = 7
    other.slots[index].is_postgres_up = True
    other.slots[index].beat()
    (live,) = made.read().live
    assert (live.worker, live.figures) == (1, Figures([1, 2], [3], [0.5], [7.0]))
    assert (other.workers, made.connections, made.heartbeat(index)) == (2, 7, 1)
    assert made.is_postgres_up
    assert (other.maker, other.made_s) == (made.maker, made.made_s)
    assert made.maker == os.getpid()


def test_segment_of_another_version_is_refused() -> None:
    """Its processes would count other things in the same places."""
    made = Segment.create(workers=1)
    os.pwrite(made.descriptor, b"another!", 0)
    with pytest.raises(StartupError, match="another version"):
        Segment.attach(os.dup(made.descriptor))


def test_segment_lies_in_a_file_where_memory_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without a name."""
    monkeypatch.delattr(os, "memfd_create")
    made = Segment.create(workers=1)
    index = made.take_slot(0)
    Segment.attach(os.dup(made.descriptor)).slots[index].publish(Figures([1]))
    assert made.read().counts == [1]


def test_what_killed_processes_counted_stays() -> None:
    """Hundreds of them, each killed in the midst of publishing, under the eyes of a reader."""
    segment = Segment.create(workers=1)
    expected, left = 0, 0
    with reading(segment), spawn(PARENT, segment) as process:
        parent = Parent(process)
        for _ in range(KILLS):
            index = killed(segment, parent)
            figures = segment.slots[index].figures
            assert set(figures.counts) == {figures.counts[0]} == set(map(int, figures.gauges))
            expected, left = expected + figures.counts[0], left + figures.left[0]
            segment.retire(index)
    assert segment.read().counts == [expected] * COUNTS
    assert (segment.read().ended.left, segment.read().live) == ([left], [])
    assert list(segment.read().restarts) == [KILLS]


def test_slots_are_free_again_and_planned_ends_are_no_restarts() -> None:
    """A worker's successor is there before it has gone."""
    segment = Segment.create(workers=2)
    taken = [segment.take_slot(number % 3) for number in range(8)]
    with pytest.raises(RuntimeError, match="every slot"):
        segment.take_slot(0)
    segment.slots[taken[4]].publish(Figures([1], [2, 3]))
    segment.retire(taken[4], is_planned=True)
    segment.retire(taken[0])
    assert segment.take_slot(1) in (taken[0], taken[4])
    assert segment.read().counts == [1]
    assert segment.read().ended.left == [2, 3]
    assert list(segment.read().restarts) == [1, 0]


def test_insights_process_is_one_beside_the_workers() -> None:
    """Its ends are its own, and whether a server can store does not depend on it."""
    segment = Segment.create(workers=2)
    asked = segment.slots[segment.take_slot(segment.insights)]
    seen = [segment.is_postgres_up]
    worker = segment.slots[segment.take_slot(0)]
    worker.is_postgres_up = True
    assert [*seen, segment.is_postgres_up] == [False, True]
    asked.publish(Figures([0, 5], insights=[1.5]))
    worker.publish(Figures([1, 2, 3]))
    assert segment.read().counts == [1, 7, 3]
    segment.retire(asked.index)
    reading = segment.read()
    assert (reading.counts, reading.insights_restarts) == ([1, 7, 3], 1)
    assert list(reading.restarts) == [0, 0]


def test_a_writer_that_is_stopped_in_the_middle_holds_up_nobody() -> None:
    """The last good copy is read meanwhile."""
    segment = Segment.create(workers=1)
    index = segment.take_slot(0)
    with spawn(PUBLISHING, segment, index) as process:
        wait_for(lambda: segment.slots[index].figures.counts)
        for _ in range(100):
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            first, second = segment.read(), segment.read()
            assert first.counts == second.counts
            assert set(first.counts) == {first.counts[0]}
            process.send_signal(signal.SIGCONT)
        process.kill()


def test_torn_figures_are_never_read() -> None:
    """A copy whose bytes are not those that were written gives way to what was read last."""
    segment = Segment.create(workers=1)
    slot = segment.slots[segment.take_slot(0)]
    slot.publish(Figures([1] * COUNTS))
    assert slot.figures.counts == [1] * COUNTS
    slot.publish(Figures([2] * COUNTS))
    whole = os.pread(segment.descriptor, os.fstat(segment.descriptor).st_size, 0)
    at = whole.index(b"\x02" * COUNTS)
    os.pwrite(segment.descriptor, b"\x03", at + 100)
    assert slot.figures.counts == [1] * COUNTS
    slot.publish(Figures([4] * COUNTS))
    assert slot.figures.counts == [4] * COUNTS


def test_figures_without_a_bound_are_refused() -> None:
    """And what was there stays."""
    segment = Segment.create(workers=1)
    slot = segment.slots[segment.take_slot(0)]
    slot.publish(Figures([5]))
    with pytest.raises(ValueError, match="bytes are more than"):
        slot.publish(Figures([2**40] * 4_000))
    assert slot.figures.counts == [5]


def test_labels_are_the_same_in_all_processes_however_many_learn_at_once() -> None:
    """As many as there is room for, each once; who learns none counts as the others."""
    segment = Segment.create(workers=1)
    learning = [spawn(LEARNING, segment, start) for start in range(3)]
    assert [process.communicate()[1] for process in learning] == [b""] * 3
    labels = segment.labels
    assert len(labels.texts) == len(set(labels.texts)) == LABELS_MAX
    places = {app: labels.place_of(app) for app in range(60)}
    for app, place in places.items():
        assert place == LABELS_MAX or labels.texts[place] == f"app {app}"
    assert sorted(place for place in places.values() if place < LABELS_MAX) == [*range(LABELS_MAX)]


def test_labels_are_in_the_order_of_the_apps_numbers_and_stay() -> None:
    """Cut to a length; a name that changes changes nothing."""
    labels = Segment.create(workers=1).labels
    assert labels.learn({3: "c" * 200, 1: "é" * 100})
    assert labels.learn({1: "another", 2: "\U0001f600" * 200})
    assert labels.texts == ["é" * 100, "c" * 100, "\U0001f600" * 100]


def test_labels_that_somebody_holds_are_learned_another_time() -> None:
    """A process that is stopped just then stops no other one."""
    segment = Segment.create(workers=1)
    holding = "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), 2); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(segment.descriptor)],
        pass_fds=[segment.descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert not segment.labels.learn({1: "a"})
        assert segment.labels.texts == []
        holder.kill()
    assert segment.labels.learn({1: "a"})
    assert segment.labels.texts == ["a"]


def test_spooled_keys_of_others_are_known_until_somebody_has_their_files() -> None:
    """What a process had when it ended stays known until another one has looked since."""
    segment = Segment.create(workers=2)
    one, other = (Member(segment, segment.take_slot(worker)) for worker in range(2))
    one.key_notes.note(has_keys=True)
    assert (one.key_notes.others_have_keys, other.key_notes.others_have_keys) == (False, True)
    seen_before = other.key_notes.ended_with_keys
    segment.retire(one.slot.index)
    other.key_notes.note(has_keys=False)
    other.key_notes.forget_ended(seen_before)
    assert other.key_notes.others_have_keys
    next_one = Member(segment, segment.take_slot(0))
    assert (next_one.key_notes.others_have_keys, other.key_notes.others_have_keys) == (True, True)
    next_one.key_notes.forget_ended(next_one.key_notes.ended_with_keys)
    other.key_notes.forget_ended(seen_before)
    assert (next_one.key_notes.others_have_keys, other.key_notes.others_have_keys) == (False, False)


def test_changes_of_the_keys_are_seen_by_all_and_never_forgotten() -> None:
    """Also when who has told of them ends, and another one has its slot."""
    segment = Segment.create(workers=1)
    one, other = (Member(segment, segment.take_slot(0)) for _ in range(2))
    for member in (one, other, one):
        member.keys_generation.advance()
    segment.retire(one.slot.index)
    segment.take_slot(0)
    assert other.keys_generation.read() == segment.keys_generation == 3


def test_connections_of_an_ended_process_are_gone() -> None:
    """So that the sum is what is open."""
    segment = Segment.create(workers=1)
    one, other = (segment.slots[segment.take_slot(0)] for _ in range(2))
    one.connections, other.connections = 3, 4
    assert segment.connections == 7
    segment.retire(one.index)
    assert segment.connections == 4


def test_postgres_is_up_for_the_server_when_it_is_for_each_process() -> None:
    """And not for nobody."""
    segment = Segment.create(workers=1)
    seen = [segment.is_postgres_up]
    slots = [segment.slots[segment.take_slot(0)] for _ in range(2)]
    for slot in slots:
        slot.is_postgres_up = True
        seen.append(segment.is_postgres_up)
    slots[0].is_postgres_up = False
    seen.append(segment.is_postgres_up)
    segment.retire(slots[0].index)
    assert [*seen, segment.is_postgres_up] == [False, False, True, False, True]


def test_learning_a_label_lets_go_of_no_other_lock_on_the_file() -> None:
    """Others take turns by such locks."""
    segment = Segment.create(workers=1)
    far = 1 << 40
    fcntl.lockf(segment.descriptor, fcntl.LOCK_EX, 1, far)
    assert segment.labels.learn({1: "a"})
    asking = f"import fcntl, sys; fcntl.lockf(int(sys.argv[1]), 6, 1, {far})"
    with spawn(asking, segment) as asker:
        assert asker.wait(30) != 0
    fcntl.lockf(segment.descriptor, fcntl.LOCK_UN, 1, far)
    with spawn(asking, segment) as asker:
        assert asker.wait(30) == 0


def test_segment_goes_with_its_last_user() -> None:
    """Its descriptor is closed with it."""
    segment = Segment.create(workers=1)
    descriptor = segment.descriptor
    os.fstat(descriptor)
    del segment
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)
