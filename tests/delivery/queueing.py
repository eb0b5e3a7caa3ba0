"""A small queue for tests, and who waits for its events."""

from ingest.delivery.outcome import Outcome
from ingest.delivery.queue import EventQueue


class Recorder:
    """A waiter that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Outcome] = []

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Note the outcome."""
        self.told.append(outcome)


def row_of(app_id: int, size: int = 10) -> bytes:
    """Return what looks like a row of an app from outside, of 10 bytes or more."""
    return bytes(6) + app_id.to_bytes(4, "big") + b"x" * (size - 10)


def make_queue(
    events_max: int = 100, bytes_max: int = 1000, batch_events: int = 10, batch_bytes: int = 100
) -> EventQueue:
    """Return a small queue."""
    return EventQueue(
        events_max=events_max,
        bytes_max=bytes_max,
        batch_events_max=batch_events,
        batch_bytes_max=batch_bytes,
    )
