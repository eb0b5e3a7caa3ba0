"""The map of partitions: what is cut by it is small, and what is looked up by it is held."""

from datetime import timedelta
from itertools import chain
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingest.store.partition_map import DAY_MS, HOMES_MAX, PartitionMap
from ingest.store.periods import Range
from tests.store.strays import day, ms

FIRST = day("2021-01-01")
FIRST_DAY = ms("2021-01-01") // DAY_MS
LAST_MS = (1 << 48) - 1
moments_ms = st.lists(
    st.integers(ms("2020-12-01"), ms("2021-09-01")) | st.integers(0, LAST_MS), max_size=300
)


def make_map(days: int, *, step: int = 1) -> PartitionMap:
    """Return a map with a partition for every day, or every second one and so on."""
    starts = [FIRST + timedelta(days=number) for number in range(0, days, step)]
    made = PartitionMap()
    made.learn([Range(start, start + timedelta(days=1)) for start in reversed(starts)])
    return made


def homes_of(made: PartitionMap, moments: list[int]) -> int:
    """Return how many partitions and gaps hold some moments."""
    return len({made._home_of(moment) for moment in moments})


@given(moments=moments_ms, step=st.integers(1, 3))
def test_parts_hold_every_moment_once_and_touch_few_homes(moments: list[int], step: int) -> None:
    """Whatever lies in partitions, between them, and outside."""
    made = make_map(200, step=step)
    parts = made.cut(moments)
    assert sorted(chain(*parts)) == list(range(len(moments)))
    assert all(homes_of(made, [moments[at] for at in part]) <= HOMES_MAX for part in parts)
    assert len(parts) == max(1, -(-homes_of(made, moments) // HOMES_MAX))


@given(moments=moments_ms, step=st.integers(1, 3))
def test_ranges_hold_every_id_of_their_days_and_no_other_partition(
    moments: list[int], step: int
) -> None:
    """One for each home, up to the last id that there can be."""
    made = make_map(200, step=step)
    ranges = made.ranges_of({moment // DAY_MS for moment in moments})
    for moment in moments:
        for rest in (0, (1 << 80) - 1):
            event_id = UUID(int=moment << 80 | rest)
            assert sum(each.first <= event_id <= each.last for each in ranges) == 1
    for each in ranges:
        edges = [each.first.int >> 80, each.last.int >> 80]
        assert homes_of(made, edges) == 1
    assert len(ranges) == homes_of(made, moments)


def test_map_of_nothing_is_one_home() -> None:
    """Which is all that a server knows in the beginning."""
    assert not PartitionMap().covers(ms("2021-01-01"))
    assert not PartitionMap().covers_lately(ms("2021-01-01"))
    assert PartitionMap().ranges_of([]) == []
    assert len(PartitionMap().ranges_of([0, FIRST_DAY])) == 1


def test_lately_is_what_the_newest_partitions_cover() -> None:
    """All of them where they are few."""
    few, many = make_map(10), make_map(100)
    assert [few.covers_lately((FIRST_DAY + at) * DAY_MS) for at in (-1, 0, 9, 10)] == [
        False,
        True,
        True,
        False,
    ]
    assert [at for at in range(-1, 102) if many.covers_lately((FIRST_DAY + at) * DAY_MS)] == list(
        range(100 - HOMES_MAX, 100)
    )


def test_partitions_ahead_are_those_up_to_the_first_gap() -> None:
    """What is behind a gap is no help to the time before it."""
    made = PartitionMap()
    assert made.ahead(FIRST_DAY * DAY_MS) == -1
    days = [0, 1, 2, 4, 5]
    starts = [FIRST + timedelta(days=number) for number in days]
    made.learn([Range(start, start + timedelta(days=1)) for start in starts])
    found = [made.ahead((FIRST_DAY + at) * DAY_MS + 1) for at in range(-1, 7)]
    assert found == [-1, 2, 1, 0, -1, 1, 0, -1]
