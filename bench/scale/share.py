"""A share: how much of a core a worker may use, and in slices of which length."""

from typing import NamedTuple


class Share(NamedTuple):
    """What each worker is given."""

    of_core: float
    """0 to 1."""
    slice_s: float
    """CPU time that it may use in one piece."""

    @property
    def period_s(self) -> float:
        """Return how often it gets a slice."""
        return self.slice_s / self.of_core
