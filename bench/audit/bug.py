"""What a seeded bug is."""

from collections.abc import Callable
from typing import NamedTuple


class Bug(NamedTuple):
    """One seeded bug."""

    plant: Callable[[], None]
    faults: tuple[str, ...]
    """What has to happen for it to show; nothing if traffic alone does."""
    breaks: tuple[str, ...]
    """Invariants, of which one at least must fail."""
    times: int = 6
    """How many faults have to happen."""
    workers: int = 1
    is_archives: bool = False
    """Whether it is one of the archive: the others are looked for without."""
    servers: int = 1
    """How many it takes to show."""
