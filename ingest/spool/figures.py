"""The figures of a spool, for whoever must not wait for its disk."""

from typing import NamedTuple


class Figures(NamedTuple):
    """The spool as it was after its last operation."""

    events: int = 0
    bytes: int = 0
    free_bytes: int = 0
    """On the disk."""
    oldest_ms: int | None = None
    damaged_events: int = 0
    recovered_events: int = 0
    newly_damaged_events: int = 0
    has_room: bool = True
    has_reserve: bool = False
    """Whether there is room in the reserve, where there is none beside it."""
    has_dedup_keys: bool = False
    """Whether a dedup key may be in one of the files, or in one that nobody owns."""
    is_overdue: bool = False
    """Whether `tidy` has something to do."""
