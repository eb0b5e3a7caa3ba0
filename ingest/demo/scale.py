"""The scale of a demo: how much happens in it, what it begins with, and by which clock it lives."""

import random
from datetime import tzinfo
from typing import NamedTuple

from ingest.demo.shop import EVENTS_PER_VISIT, Shop


class Scale(NamedTuple):
    """One demo's."""

    seed: int
    events_per_day: float
    release_ms: int
    """When the checkout was mended."""
    zone: tzinfo

    @property
    def visits_per_day(self) -> float:
        """How many visits bring so many events."""
        return self.events_per_day / EVENTS_PER_VISIT

    def shop(self, known: int) -> Shop:
        """Return the shop as it is after so many visitors; 0 is as many as it begins with."""
        return Shop(self.seed, self.visits_per_day, self.release_ms, known)

    def chance(self, of: str, begin_ms: int) -> random.Random:
        """Return what decides, the same way each time, what happens from a time on."""
        return random.Random(f"{of} {self.seed} {begin_ms}")
