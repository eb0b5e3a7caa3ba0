"""Which partitions are known to one server, in the order of time, and what lies between them.

Each is a home of rows, and so is each gap between two: its rows are in the default partition. What
touches many of them costs everybody: a statement that is planned for 1,800 partitions takes 160 ms,
and one that locks them takes 3,600 of the 7,000 locks that Postgres has by default for all. So what
is sent at once is cut by homes, and what is looked up is looked up between constants, by which
the planner leaves out all other partitions. A map that is out of date costs time and nothing else.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple
from uuid import UUID

from ingest.store.periods import MOMENT_MAX, Range, moment_at, moment_of, unix_ms
from ingest.store.postgres import Connection

HOMES_MAX: Final = 64
"""So many homes one transaction touches at most. Five years of months are 61."""
DAY_MS: Final = 86_400_000

_BOUNDS: Final = re.compile(
    r"FROM \((?:MINVALUE|'([0-9a-f-]{36})')\) TO \((?:MAXVALUE|'([0-9a-f-]{36})')\)"
)
_ID_BITS: Final = 128
_ID_BITS_BELOW_MS: Final = 80


class IdRange(NamedTuple):
    """A closed range of ids."""

    first: UUID
    last: UUID


class PartitionMap:
    """The partitions that are known; none in the beginning."""

    def __init__(self) -> None:
        self._starts_ms: list[int] = []
        self._ends_ms: list[int] = []

    def learn(self, existing: Collection[Range]) -> None:
        """Take these for all that there are."""
        existing = sorted(existing)
        self._starts_ms = [unix_ms(each.start) for each in existing]
        self._ends_ms = [unix_ms(each.end) for each in existing]

    def covers(self, unix_ms: int) -> bool:
        """Return whether a partition of its own is known for a time."""
        at = bisect_right(self._starts_ms, unix_ms) - 1
        return at >= 0 and unix_ms < self._ends_ms[at]

    def covers_lately(self, unix_ms: int) -> bool:
        """Return whether the partition of a time is one of the newest, HOMES_MAX at most."""
        at = bisect_right(self._starts_ms, unix_ms) - 1
        return at >= max(0, len(self._starts_ms) - HOMES_MAX) and unix_ms < self._ends_ms[at]

    def ahead(self, unix_ms: int) -> int:
        """Return how many partitions follow that of a time without a gap; -1 if it has none."""
        at = bisect_right(self._starts_ms, unix_ms) - 1
        if at < 0 or unix_ms >= self._ends_ms[at]:
            return -1
        last = at
        while self._ends_ms[last : last + 1] == self._starts_ms[last + 1 : last + 2]:
            last += 1
        return last - at

    def cut(self, moments_ms: Sequence[int]) -> list[Sequence[int]]:
        """Return the indices of moments in parts of HOMES_MAX homes at most; in one if they fit."""
        homes: dict[int, list[int]] = defaultdict(list)
        for index, moment_ms in enumerate(moments_ms):
            homes[self._home_of(moment_ms)].append(index)
        if len(homes) <= HOMES_MAX:
            return [range(len(moments_ms))]
        in_order = [homes[home] for home in sorted(homes)]
        starts = range(0, len(in_order), HOMES_MAX)
        return [list(chain(*in_order[start : start + HOMES_MAX])) for start in starts]

    def ranges_of(self, days: Iterable[int]) -> list[IdRange]:
        """Return ranges of id that hold days since 1970, one for each home that they touch."""
        homes: dict[int, list[int]] = defaultdict(list)
        for day in days:
            homes[self._home_of(day * DAY_MS)].append(day)
        return [_range_of(min(held), max(held)) for held in homes.values()]

    def _home_of(self, unix_ms: int) -> int:
        """Return the number of a home: odd for a partition, even for a gap."""
        position = bisect_right(self._starts_ms, unix_ms)
        is_covered = position > 0 and unix_ms < self._ends_ms[position - 1]
        return 2 * position - is_covered


async def existing_ranges(connection: Connection) -> list[Range]:
    """Return the ranges that partitions hold, without the default one."""
    rows = await connection.fetch(
        "SELECT pg_get_expr(child.relpartbound, child.oid) AS bounds"
        " FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
        " WHERE inhparent = 'events'::regclass"
    )
    found = (range_of(str(row["bounds"])) for row in rows)
    return [each for each in found if each is not None]


def range_of(bounds: str) -> Range | None:
    """Return the range between two bounds as Postgres writes them; None for the default partition.

    Where there is no bound, it is all time.
    """
    match = _BOUNDS.search(bounds)
    if match is None:
        return None
    low, high = match.groups()
    return Range(
        moment_of(UUID(low)) if low else moment_at(0),
        moment_of(UUID(high)) if high else MOMENT_MAX,
    )


def _range_of(first_day: int, last_day: int) -> IdRange:
    """Return all ids of some days; the last one that an id can carry is no whole day."""
    behind = (last_day + 1) * DAY_MS << _ID_BITS_BELOW_MS
    return IdRange(
        UUID(int=first_day * DAY_MS << _ID_BITS_BELOW_MS),
        UUID(int=min(behind, 1 << _ID_BITS) - 1),
    )
