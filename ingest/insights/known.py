"""What is known of the events that a question is asked of without a look at them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

Names = tuple[Iterable[tuple[str, int, int]], Sequence[str]]
"""How often names are in some of the events, and the sources of all others.

A name, so many events, and when the latest was, in microseconds since 1970; a name may come more
than once.
"""


class Known(Protocol):
    """Whoever has the events implements it."""

    @property
    def ends(self) -> tuple[datetime, datetime] | None:
        """No event is earlier than the one, and none as late as the other; None for no event."""

    @property
    def archived(self) -> int:
        """How many of them lie in files."""

    def names(self) -> Names:
        """Return how often names are, as far as that is known."""

    def latest(self, limit: int, bytes_max: int) -> Sequence[tuple[str, str]]:
        """Return names and parameters, as JSON, of the latest of those that have arrived last.

        So many at most; parameters of more than `bytes_max` are left out.
        """
