"""What a child is told, and what it says: one line of JSON each, over the socket of its stdin."""

from typing import Literal

import msgspec

from ingest.config import Config

Command = Literal["stop", "retire"]
"""`stop` with the whole server, and said again, without the rest of the drain; `retire`: another
one is in its place already."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What every child needs to know to begin."""

    config: Config
    """With its own share of what is the server's."""
    database_url: str
    segment: int
    """The descriptor of what the server's processes share."""
    slot: int
    """Its place in there."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the `nonito` command is told, so that it becomes this child."""
        raise NotImplementedError

    @property
    def descriptors(self) -> list[int]:
        """Those that it is to hold, beside `segment`."""
        raise NotImplementedError


class WorkerOrder(Order, frozen=True, kw_only=True):
    """What a worker needs to know."""

    worker: int
    """Its number, from 0."""
    workers: int
    listeners: list[int]
    """Descriptors of bound sockets."""
    are_lent: bool
    """Whether the sockets outlive the server, so that no worker may change them."""
    monitor: int | None
    """That of the socket for the metrics, if they have an address of their own."""
    address: str
    """Where the server listens, as curl is told."""
    makes_first_key: bool
    """Whether it may make the first app and its key."""
    dashboard: str
    """Where people sign in, for the one that tells them; empty for all others."""
    shows_first_link: bool
    """Whether it may tell the first of them a link."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the `nonito` command is told."""
        return "worker", str(self.worker)

    @property
    def descriptors(self) -> list[int]:
        """All sockets."""
        return self.listeners if self.monitor is None else [*self.listeners, self.monitor]


class InsightsOrder(Order, frozen=True, kw_only=True):
    """What the insights process needs to know."""

    listener: int | None
    """The descriptor of the socket at which questions are asked; None if they are not."""
    port: int | None
    """Where events arrive by TCP; None if they do by unix sockets alone."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the `nonito` command is told."""
        return ("insights",)

    @property
    def descriptors(self) -> list[int]:
        """The socket."""
        return [] if self.listener is None else [self.listener]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """What a worker says once it serves."""

    greeting: str
    """What people are told of API keys, and of signing in."""
    database: str
    """Which one where, without name and password."""
    connections: str
    """How many to Postgres the server may need, and how many it may have; empty if not known."""
    lacks_connections: bool


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """What the insights process says once it serves."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """What a child says that can't begin."""

    reason: str
    """One line that says why and how to mend it."""


def encode(line: Order | Ready | Begun | Failed | Command) -> bytes:
    """Return a line."""
    return msgspec.json.encode(line) + b"\n"
