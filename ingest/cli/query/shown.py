"""What is shown of an answer: tables for people, records for programs, and what is to be said."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from ingest.api.formats import guarded
from ingest.cli.table import aligned, printable, shortened, width_of

Cell = str | int | float | datetime | None
"""Of a record: text may be a client's, and numbers stay numbers."""

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


class Records(NamedTuple):
    """An answer as rows for programs: each says all that it is about, whatever the others say."""

    heading: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def csv(self, *, for_terminal: bool) -> str:
        """Return RFC 4180's CSV, without formulas; a terminal gets nothing that it acts on."""
        text = io.StringIO()
        writer = csv.writer(text)
        for row in (self.heading, *self.rows):
            cells = map(_cell, row)
            writer.writerow([printable(str(each)) for each in cells] if for_terminal else cells)
        return text.getvalue()


class Shown(NamedTuple):
    """One answer."""

    tables: Sequence[Table]
    records: Records
    notes: Sequence[str]
    """What has to be known of the figures."""
    chart: Sequence[str] = ()
    """Lines, for a terminal."""


def _cell(cell: Cell) -> str | int | float:
    if isinstance(cell, str):
        return guarded(cell)
    return cell.isoformat() if isinstance(cell, datetime) else "" if cell is None else cell
