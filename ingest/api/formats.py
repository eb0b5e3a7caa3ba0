"""Events as lines: NDJSON, and CSV that no spreadsheet takes for formulas."""

import csv
import io
import unicodedata
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from ingest.insights.places import Row

_FORMULA: Final = frozenset("=+-@")
"""What a spreadsheet reads a formula behind; such a cell begins with an apostrophe instead."""
_BREAKS: Final = ("\t", "\r", "\n")
"""What it may read as the end of a cell, whatever quotes are around it."""


class Format(NamedTuple):
    """How events are written, one by one."""

    suffix: str
    kind: str
    """Its media type."""
    head: bytes
    encode: Callable[[Row], bytes]


def guarded(cell: str) -> str:
    """Return a cell that is shown as it is."""
    return f"'{cell}" if cell.startswith(_BREAKS) or _first(cell) in _FORMULA else cell


def _first(cell: str) -> str:
    """Return the first character that is seen, in its usual width: some programs look no closer."""
    first = next((each for each in cell if each.isprintable() and each != " "), "")
    return unicodedata.normalize("NFKC", first)


def _ndjson(row: Row) -> bytes:
    line = row._asdict() | {"params": orjson.Fragment(row.params)}
    return orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _csv(row: Row) -> bytes:
    line = io.StringIO()
    cells = (
        str(row.id),
        row.at.isoformat(),
        row.created_at.isoformat(),
        guarded(row.name),
        guarded(row.person or ""),
        row.params,
    )
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


NDJSON: Final = Format("ndjson", "application/x-ndjson", b"", _ndjson)
CSV: Final = Format(
    "csv", "text/csv; charset=utf-8", b"id,at,created_at,name,person,params\r\n", _csv
)
