"""What a fault is, and the order in which a seed lets them happen."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from enum import Enum
from random import Random
from typing import ClassVar, Final

from bench.audit.history import EARLY, KEPT_OUT, LOST
from bench.audit.system import System

SERVER_GONE: Final = frozenset({LOST, EARLY})
"""What clients may see when the server is killed: connections without an answer, and the end of
what was acknowledged early."""
STOPPING: Final = frozenset({LOST, "shutting_down"})
DOWN: Final = "server-down"
"""No fault either, but what comes of some: from when a server ends until the next one listens."""
SERVER_DOWN: Final = frozenset({KEPT_OUT, "shutting_down"})
"""What may be met then: nobody at all, or workers of a dead supervisor, who see clients off."""
OVERLOADED: Final = frozenset({"overloaded", EARLY})
"""What may be answered while the spool is full."""
DISK_FAILING: Final = frozenset({"database_error", "overloaded", "internal_error", EARLY})
"""What may be answered while the spool's own disk is full or failing, with Postgres away."""


class Aim(Enum):
    """Whom a fault befalls, of several servers."""

    POSTGRES = "all of them, for it befalls what they share"
    ONE = "one of them; the clients of the others notice nothing"
    SOME = "one of them, or all at once"


class Fault(ABC):
    """One kind of fault. An injection begins and lifts it."""

    name: str
    aim: ClassVar[Aim] = Aim.POSTGRES
    weight: ClassVar[int]
    """How often it happens, beside the others; 0: only when it is asked for."""
    excuses: ClassVar[frozenset[str]] = frozenset()
    """Codes of refusal, or LOST and the like, that clients may see while it lasts."""
    moves_rows: ClassVar[bool] = False
    """Whether what `events` holds is not all that was stored, while it lasts."""
    spoils_archive: ClassVar[bool] = False
    """Whether the archive's files have to be made anew because of it."""
    is_handover: ClassVar[bool] = False
    """Whether workers are replaced by it, and nobody has to wait for that."""

    @abstractmethod
    async def inject(self, system: System, random: Random) -> None:
        """Begin it, let it last, lift it."""

    def is_possible(self, system: System) -> bool:  # noqa: ARG002 - for those that need something
        """Whether this system permits it."""
        return True


def draw(faults: Sequence[Fault], random: Random) -> Iterator[Fault]:
    """Yield faults for ever: from a bag that holds each by its weight, shuffled, and again."""
    while True:
        bag = [fault for fault in faults for _ in range(max(1, fault.weight))]
        random.shuffle(bag)
        yield from bag
