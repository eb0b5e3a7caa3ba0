"""A chart of block characters, no wider than the terminal: bars for one line, a row each for more.

Where there are more buckets than columns a column shows the greatest of its buckets.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ingest.api.figures import number
from ingest.cli.table import padded, width_of

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_STEPS: Final = len(_BLOCKS) - 1
_HEIGHT: Final = 6
_COLUMN_MAX: Final = 8
_GAP_FROM: Final = 3
"""Bars so wide have a gap between them."""
_BODY_MIN: Final = 8
_LINES_MAX: Final = 12
"""Of each event the greatest come first."""


class Line(NamedTuple):
    """A series: its label, a value for each bucket, and the total."""

    label: str
    values: Sequence[float | None]
    total: float | None


class _Scale(NamedTuple):
    low: float
    high: float

    def steps(self, value: float | None, height: int) -> int:
        """Return how many eighths of a row a value has; one at least if it is above the bottom."""
        if value is None or value <= self.low:
            return 0
        share = (value - self.low) / (self.high - self.low)
        return max(1, round(share * height * _STEPS))


def draw(lines: Sequence[Line], ends: tuple[str, str], width: int) -> Iterator[str]:
    """Yield the rows of a chart, and below it the names of the first and the last bucket."""
    lines = lines[:_LINES_MAX]
    known = [value for line in lines for value in line.values if value is not None]
    if not known or width < _BODY_MIN:
        return
    low, high = min(0, *known), max(0, *known)
    scale = _Scale(low, high if high > low else low + 1)
    yield from (_bars if len(lines) == 1 else _rows)(lines, scale, ends, width)


def _bars(lines: Sequence[Line], scale: _Scale, ends: tuple[str, str], width: int) -> Iterator[str]:
    """Yield one line, some rows high, with its scale on the left."""
    marks = [number(scale.high), *[""] * (_HEIGHT - 2), number(scale.low)]
    margin = max(map(len, marks))
    columns = _fitted(lines[0].values, width - margin - 1)
    for row, mark in enumerate(marks):
        yield f"{mark:>{margin}} {_row(columns, scale, _HEIGHT, _HEIGHT - 1 - row)}".rstrip()
    yield _axis(ends, margin + 1, _length(columns))


def _rows(lines: Sequence[Line], scale: _Scale, ends: tuple[str, str], width: int) -> Iterator[str]:
    """Yield a row for each line, of one scale, between its label and its total."""
    totals = [number(line.total) for line in lines]
    margin, right = max(width_of(line.label) for line in lines), max(map(len, totals))
    if width - margin - right - 2 < _BODY_MIN:
        return
    length = 0
    for line, total in zip(lines, totals, strict=True):
        columns = _fitted(line.values, width - margin - right - 2)
        length = _length(columns)
        yield f"{padded(line.label, margin)} {_row(columns, scale, 1, 0)} {total:>{right}}"
    yield _axis(ends, margin + 1, length)


class _Columns(NamedTuple):
    values: Sequence[float | None]
    width: int


def _fitted(values: Sequence[float | None], width: int) -> _Columns:
    """Return the columns of so many buckets, and how wide each is."""
    if len(values) <= width:
        return _Columns(values, min(_COLUMN_MAX, width // len(values)))
    edges = [place * len(values) // width for place in range(width + 1)]
    parts = [values[start:end] for start, end in pairwise(edges)]
    return _Columns([max((v for v in part if v is not None), default=None) for part in parts], 1)


def _length(columns: _Columns) -> int:
    return len(columns.values) * columns.width


def _row(columns: _Columns, scale: _Scale, height: int, row: int) -> str:
    """Return one row of the bars, of which 0 is the lowest."""
    gap = 1 if columns.width >= _GAP_FROM else 0
    steps = (scale.steps(value, height) - row * _STEPS for value in columns.values)
    blocks = (_BLOCKS[max(0, min(_STEPS, each))] for each in steps)
    return "".join(block * (columns.width - gap) + " " * gap for block in blocks)


def _axis(ends: tuple[str, str], margin: int, length: int) -> str:
    """Return where the buckets begin, and where the last one is if there is room."""
    first, last = ends
    if first == last or len(first) + len(last) + 1 > length:
        return f"{' ' * margin}{first}"
    return f"{' ' * margin}{first}{last:>{length - len(first)}}"
