"""A pair of meters: a key's, and its app's."""

from ingest.errors import Refusal
from ingest.metering.meter import Meter


class Pair:
    """Two meters that both have to let a request in: a key's, and its app's."""

    __slots__ = ("_first", "_refused_by", "_second", "app_id")

    def __init__(self, first: Meter, second: Meter) -> None:
        self.app_id = first.app_id
        self._first = first
        self._second = second
        self._refused_by = first

    def take(self, events: int, size: int) -> bool:
        """Count with both, or with none."""
        first, second = self._first, self._second
        # By itself, not by `take` of each: 0.2 µs, not 0.4.
        if (
            events <= first.events_left
            and events <= second.events_left
            and size <= first.bytes_left
            and size <= second.bytes_left
        ):
            first.events_left -= events
            second.events_left -= events
            first.bytes_left -= size
            second.bytes_left -= size
            return True
        return (
            self._may_take(events, size) and first.take(events, size) and second.take(events, size)
        )

    def _may_take(self, events: int, size: int) -> bool:
        for each in (self._first, self._second):
            if not each.may_take(events, size):
                self._refused_by = each
                return False
        return True

    def is_open(self) -> bool:
        """Return False if a request is to be refused before its body is read."""
        for each in (self._first, self._second):
            if not each.is_open():
                self._refused_by = each
                return False
        return True

    def refusal(self) -> Refusal:
        """Return what is said to who was refused just now."""
        return self._refused_by.refusal()
