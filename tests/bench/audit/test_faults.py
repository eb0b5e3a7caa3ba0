"""The audit's faults and seeded bugs: their order, their names, and what a bug does."""

from itertools import islice
from random import Random

import pytest

from bench.audit.bugs import BUGS
from bench.audit.faults import draw
from bench.audit.nemesis import FAULTS, choose
from bench.audit.patch import with_new_ids
from bench.audit.verdicts import INVARIANTS
from bench.errors import BenchError
from ingest.events import copy_format
from ingest.events.ids import IdSequence


def test_same_seed_makes_the_same_faults_and_every_kind_comes() -> None:
    """A bag holds each kind as often as its weight says."""
    faults = choose(())
    size = sum(fault.weight for fault in faults)
    first = [fault.name for fault in islice(draw(faults, Random(7)), size)]
    assert first == [fault.name for fault in islice(draw(faults, Random(7)), size)]
    assert set(first) == {fault.name for fault in faults}
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_unknown_fault_is_named() -> None:
    """With those that there are."""
    with pytest.raises(BenchError, match=r"^earthquake is no fault; one of server-kill, "):
        choose(("earthquake",))


def test_every_bug_names_faults_and_an_invariant_that_exist() -> None:
    """And there are at least twelve."""
    names = {fault.name for fault in FAULTS}
    assert len(BUGS) >= 12
    for bug in BUGS.values():
        assert set(bug.faults) <= names
        assert bug.breaks
        assert set(bug.breaks) <= INVARIANTS.keys()


def test_new_ids_change_the_ids_and_nothing_else() -> None:
    """The seeded bug is the one it says."""
    ids = IdSequence()
    before = []
    for number in range(50):
        event_id, _, moment = ids.next()
        params = b'{"n": %d}' % number
        before.append(
            copy_format.row(copy_format.row_head(1), event_id, b"name", params, moment.row)
        )
    after = with_new_ids(b"".join(before))
    assert len(after) == len(b"".join(before))
    size = len(before[0])
    assert after[14:22] == before[0][14:22]
    assert after[22:30] != before[0][22:30]
    assert after[30:size] == before[0][30:]
