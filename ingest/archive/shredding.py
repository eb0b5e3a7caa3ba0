"""Which parameters get columns of their own in a file: those that a sample of its events has often.

DuckDB would take all that occur: 3,000 events with ten names each of their own took it two minutes
and 4 GB. So it is told, and what it is told is bounded.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

SAMPLE_ROWS: Final = 2_000
SAMPLE_BYTES_MAX: Final = 16 << 10
"""A longer document is no part of the sample."""

_SHARE_MIN: Final = 0.002
_COLUMNS_MAX: Final = 100
_DEPTH_MAX: Final = 3
_INT64_MAX: Final = (1 << 63) - 1
_KINDS: Final = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR"}

_Path = tuple[str, ...]


def shape(documents: Iterable[str]) -> str:
    """Return the type of a sample's frequent parameters, as DuckDB writes it; empty for none."""
    counts: dict[_Path, Counter[str]] = {}
    total = 0
    for document in documents:
        total += 1
        for path, kind in _leaves(_read(document), ()):
            counts.setdefault(path, Counter())[kind] += 1
    least = max(2, total * _SHARE_MIN)
    often = [(path, kinds) for path, kinds in counts.items() if kinds.total() >= least]
    often.sort(key=lambda each: (-each[1].total(), each[0]))
    tree: dict[str, Any] = {}
    for path, kinds in often[:_COLUMNS_MAX]:
        _plant(tree, path, kinds.most_common(1)[0][0])
    return _written(tree) if tree else ""


def _read(document: str) -> object:
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError:  # of a depth that others take
        return None


def _leaves(value: object, path: _Path) -> Iterator[tuple[_Path, str]]:
    """Yield the path and kind of what is in a document; lists are no part of it."""
    if isinstance(value, dict) and len(path) < _DEPTH_MAX:
        for key, each in value.items():
            if key:  # no column is called so
                yield from _leaves(each, (*path, key))
    elif path and type(value) in _KINDS and not _is_large(value):
        yield path, _KINDS[type(value)]


def _is_large(value: object) -> bool:
    return isinstance(value, int) and abs(value) > _INT64_MAX


def _plant(tree: dict[str, Any], path: _Path, kind: str) -> None:
    """Add a column, unless another is in its place: DuckDB's columns know no upper case."""
    *above, last = path
    for key in above:
        found = tree.setdefault(key, {}) if key in tree or _is_new(tree, key) else None
        if not isinstance(found, dict):
            return
        tree = found
    if _is_new(tree, last):
        tree[last] = kind


def _is_new(tree: dict[str, Any], key: str) -> bool:
    return key.casefold() not in {each.casefold() for each in tree}


def _written(tree: dict[str, Any]) -> str:
    fields = (
        f"{_quoted(key)} {_written(each) if isinstance(each, dict) else each}"
        for key, each in tree.items()
        if each
    )
    return f"STRUCT({', '.join(fields)})"


def _quoted(key: str) -> str:
    return '"' + key.replace('"', '""') + '"'
