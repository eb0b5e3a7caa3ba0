"""The reserve of a full spool: a tenth of it, in even parts for all apps that this process has met.

So the flood of one app, which fills the spool while Postgres is away, leaves the others their 202.
What each has put there is counted in memory, by the bytes of its rows, until the spool takes
everybody's events again: a restart begins anew, within the spool's own limit.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from ingest.events import copy_reader


class SpoolReserve:
    """Says whose events may use the reserve; of one process."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used: Counter[int] = Counter()
        """Bytes by app."""
        self.apps: Collection[int] = ()
        """All that this process has met. A part is kept for one that it has not."""
        self.processes = 1
        """How many share it."""

    @property
    def is_shared(self) -> bool:
        """Whether it is for several apps, as far as this process knows."""
        return len(self.apps) > 1

    def admit(self, rows: Sequence[bytes]) -> list[int]:
        """Return the indices of the rows that are within the parts of their apps; they count."""
        part = self._size // (self.processes * max(2, len(self.apps)))
        admitted: list[int] = []
        for at, row in enumerate(rows):
            app_id = copy_reader.app_id(row)
            if self._used[app_id] + len(row) <= part:
                self._used[app_id] += len(row)
                admitted.append(at)
        return admitted

    def give_back(self, rows: Sequence[bytes]) -> None:
        """Count rows no more that were admitted, and did not get there."""
        for row in rows:
            app_id = copy_reader.app_id(row)
            # It may have been cleared meanwhile.
            self._used[app_id] = max(0, self._used[app_id] - len(row))

    def clear(self) -> None:
        """Begin anew: there is room for everybody."""
        self._used.clear()
