"""Some row groups of a Parquet file, as a file: their bytes are copied, and nothing is decoded.

They stay where they are in the file, so that what says where is right as it is; between them there
is nothing, and where the file system has holes that takes no room. Only what stays is copied, so
that nothing of the others is there: their pages, dictionaries, statistics, indexes.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from ingest.archive import thrift
from ingest.archive.thrift import Field, List, Struct

_MAGIC: Final = b"PAR1"
_TAIL_BYTES: Final = 8
_FOOTER_BYTES_MAX: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 20
# The numbers that Parquet's definition gives to fields.
_ROWS, _GROUPS = 3, 4
_COLUMNS, _ROWS_OF_GROUP = 1, 3
_META, _OFFSET_INDEX, _COLUMN_INDEX = 3, 4, 6
_BYTES, _DATA, _INDEX, _DICTIONARY, _BLOOM = 7, 9, 10, 11, 14


def sizes(path: Path) -> list[int]:
    """Return how many rows each row group of a file has; raise OSError, ValueError."""
    with path.open("rb") as file:
        return [group[_ROWS_OF_GROUP].value for group in _groups(_footer(file))]


def copy(source: Path, target: Path, kept: Collection[int]) -> None:
    """Write some row groups of a file, by their numbers, as another; raise OSError, ValueError."""
    with source.open("rb") as file, target.open("xb") as out:
        footer = _footer(file)
        groups = [group for number, group in enumerate(_groups(footer)) if number in kept]
        out.write(_MAGIC)
        end = 0
        for start, length in sorted(_ranges(groups)):
            if start < max(end, len(_MAGIC)):
                raise ValueError("parts of a file lie in each other")
            _copy_range(file, out, start, length)
            end = start + length
        rows = sum(group[_ROWS_OF_GROUP].value for group in groups)
        footer[_ROWS] = footer[_ROWS]._replace(value=rows)
        of_groups = footer[_GROUPS].value
        footer[_GROUPS] = footer[_GROUPS]._replace(value=List(of_groups.type, groups))
        written = thrift.written(footer)
        out.seek(0, os.SEEK_END)
        out.write(written + len(written).to_bytes(4, "little") + _MAGIC)


def _footer(file: BinaryIO) -> Struct:
    file.seek(-_TAIL_BYTES, os.SEEK_END)
    tail = file.read()
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > _FOOTER_BYTES_MAX:
        raise ValueError("no Parquet file")
    file.seek(-_TAIL_BYTES - length, os.SEEK_END)
    return thrift.Reader(file.read(length)).struct()


def _groups(footer: Struct) -> Sequence[Struct]:
    found = footer.get(_GROUPS)
    if found is None or not isinstance(found.value, List):
        raise ValueError("a file without row groups")
    return found.value.values


def _ranges(groups: Sequence[Struct]) -> Iterator[tuple[int, int]]:
    """Yield where all lies that belongs to row groups: from where on, and how many bytes."""
    for group in groups:
        for column in group[_COLUMNS].value.values:
            meta: Struct = column[_META].value
            begins = [meta[each].value for each in (_DATA, _INDEX, _DICTIONARY) if each in meta]
            yield min(begins), meta[_BYTES].value
            yield from _indexed(column, _OFFSET_INDEX)
            yield from _indexed(column, _COLUMN_INDEX)
            yield from _indexed(meta, _BLOOM)


def _indexed(struct: Struct, place: int) -> Iterator[tuple[int, int]]:
    """Yield where something lies whose length is in the field behind; nothing if there is none."""
    if place in struct:
        length: Field | None = struct.get(place + 1)
        if length is None:
            raise ValueError("nobody knows how long it is")
        yield struct[place].value, length.value


def _copy_range(file: BinaryIO, out: BinaryIO, start: int, length: int) -> None:
    file.seek(start)
    out.seek(start)
    while length:
        chunk = file.read(min(length, _CHUNK_BYTES))
        if not chunk:
            raise ValueError("a file is cut short")
        out.write(chunk)
        length -= len(chunk)
