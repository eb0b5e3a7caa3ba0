"""What the connections of one load process have in common."""

from array import array


class Tally:
    """What all connections of a process report to; emptied by its owner every few milliseconds."""

    def __init__(self, *, keeps_ids: bool) -> None:
        self.measuring_since_s = float("inf")
        """Requests due before this time are not measured."""
        self.due_s = array("d")
        """When measured requests were due, and at the same index how long each took."""
        self.took_s = array("d")
        self.lag_s = array("d")
        """Open loop: how long after each measured request was due it was written, or
        found to have no free connection: then it is the server that is late, not the client."""
        self.keeps_ids = keeps_ids
        self.ids = bytearray()
        """The ids of acknowledged events, 36 characters each."""
        self.payloads = array("i")
        """At the same index, which request each answered."""
        self.other_statuses: list[int] = []
        """Of the answers that were no 200."""
        self.miscounted = 0
        """Acknowledged batches whose answer has more rows or fewer."""
        self.lost = 0
        self.broken = ""
        """Why the run can't go on."""


class Usual:
    """What the last 200 looked like, on whichever connection."""

    __slots__ = ("answer_bytes", "head")

    def __init__(self) -> None:
        self.head = b""
        self.answer_bytes = -1
