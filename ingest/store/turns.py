"""The turns of a server: each stands for one connection that it has, however many processes it is.

A worker has those of its writers for itself (`writer.connections`, and one). All others are opened
within one of these turns, so there are `CONNECTIONS_MAX` of them at most.
"""

from typing import Final

from ingest.share.turn import Turn

_SESSIONS: Final = 2
_DUTIES_POLL_S: Final = 1.0

CONNECTIONS_MAX: Final = 8 + _SESSIONS
"""So many connections a server has at once beside those of its workers' writers."""


class Turns:
    """All of one server; without the descriptor that its processes share, of this process alone."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.is_shared = descriptor is not None
        """Whether there may be other processes."""
        self.replay = Turn(0, descriptor)
        self.dead_letters = Turn(1, descriptor)
        """Of whoever replays."""
        self.apart = Turn(2, descriptor)
        self.hung = Turn(3, descriptor)
        self.duties = Turn(4, descriptor, poll_s=_DUTIES_POLL_S)
        """Who has it keeps it until it ends, and listens for API keys."""
        self.upkeep = Turn(5, descriptor)
        """Of that process as well: work on the database that may take long."""
        self.partitions = Turn(6, descriptor)
        """For partitions that events need at once."""
        self.sessions = Turn(7, descriptor, places=_SESSIONS)
        """For everything that is short."""
        self.schema = Turn(8, descriptor)
        """Of whoever has the duties: what of the schema is made while servers serve, which may take
        an hour."""
