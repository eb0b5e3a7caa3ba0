"""What is shown of an answer: tables for people, records for programs, and what is to be said."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ingest.api.records import Records
from ingest.cli.table import aligned, printable, shortened, width_of

_GAP: Final = 2
_LAST_CHARS_MIN: Final = 12


class Table(NamedTuple):
    """Rows for people; a last column of text is cut to what the width leaves for it."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()

    def lines(self, width: int) -> Iterator[str]:
        """Yield the lines."""
        rows = [[printable(cell) for cell in row] for row in (self.heading, *self.rows)]
        if len(self.heading) - 1 not in self.numeric:
            *before, _ = zip(*rows, strict=True)
            taken = sum(max(map(width_of, column)) + _GAP for column in before)
            left = max(_LAST_CHARS_MIN, width - taken)
            rows = [[*row[:-1], shortened(row[-1], left)] for row in rows]
        return aligned(rows, self.numeric)


class Shown(NamedTuple):
    """One answer."""

    tables: Sequence[Table]
    records: Records
    notes: Sequence[str]
    """What has to be known of the figures."""
    chart: Sequence[str] = ()
    """Lines, for a terminal."""
