"""The shop: who visits it when, and all that happens there, in the order of time.

In memory are only the visits that are not over.
"""

import itertools
import random
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final

from ingest.demo.visitors import REGULAR_EVERY, Visitor, visitor
from ingest.demo.visits import AFTER, BEFORE, Event, Visit

EVENTS_PER_VISIT: Final = 4.0
"""On average."""
_NEW, _REGULAR = 0.52, 0.13
"""Shares of the visits: by those who were never there, and by those who come again and again."""
_RECENT_DAYS: Final = 4.0


class Shop:
    """One shop, in which the same things happen for the same seed and the same visits."""

    def __init__(self, seed: int, visits_per_day: float, release_ms: int, known: int = 0) -> None:
        self._seed = seed
        self._release_ms = release_ms
        # Who returns was there some days ago; so far back are as many as are new in that time.
        self._recent = max(1.0, visits_per_day * _NEW * _RECENT_DAYS)
        self.known = known or int(2 * self._recent)
        """How many visitors there have been, those before the first event too."""

    def events(self, chance: random.Random, starts: Iterable[int]) -> Iterator[Event]:
        """Yield what happens in the visits that begin then, which are in order."""
        waiting: list[tuple[int, int, Event]] = []
        number = itertools.count()  # of two events at once the one that was made first
        for start_ms in starts:
            while waiting and waiting[0][0] <= start_ms:
                yield heappop(waiting)[-1]
            for event in self._visit(chance, start_ms):
                heappush(waiting, (event.at_ms, next(number), event))
        while waiting:
            yield heappop(waiting)[-1]

    def _visit(self, chance: random.Random, start_ms: int) -> Iterator[Event]:
        who, is_first = self._visitor(chance)
        release = BEFORE if start_ms < self._release_ms else AFTER
        return Visit(chance, who, start_ms, release).events(is_first=is_first)

    def _visitor(self, chance: random.Random) -> tuple[Visitor, bool]:
        """Return who comes, and whether it is for the first time."""
        share = chance.random()
        if share < _NEW:
            self.known += 1
            return visitor(self._seed, self.known - 1), True
        if share < _NEW + _REGULAR:
            return visitor(self._seed, chance.randrange(0, self.known, REGULAR_EVERY)), False
        ago = int(chance.expovariate(1 / self._recent))
        number = self.known - 1 - ago if ago < self.known else chance.randrange(self.known)
        return visitor(self._seed, number), False
