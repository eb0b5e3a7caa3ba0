"""What all trials of a comparison have in common: a Postgres, a key, cores, times, a sender."""

from dataclasses import dataclass

from bench.compare.sender import OWN
from bench.machine import Cores


@dataclass(frozen=True)
class Setup:
    """What all trials share."""

    database_url: str
    key: str
    cores: Cores
    postgres_pid: int | None
    seconds: float
    warm_up_s: float
    workers: int = 1
    """Of our server; nobody else has any."""
    sender: str = OWN
    """Of single POSTs; batches are always sent by our own client."""
