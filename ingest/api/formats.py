"""Events as lines: NDJSON, and CSV that no spreadsheet takes for formulas."""

import csv
import io
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from ingest.insights.places import Row

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet reads a formula behind; such a cell begins with an apostrophe instead."""


class Format(NamedTuple):
    """How events are written, one by one."""

    suffix: str
    kind: str
    """Its media type."""
    head: bytes
    encode: Callable[[Row], bytes]


def guarded(cell: str) -> str:
    """Return a cell that is shown as it is."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


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
