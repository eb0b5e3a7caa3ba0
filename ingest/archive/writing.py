"""Writes the events of one app to a file, their parameters as a VARIANT.

A file is cut in spans of time of about SPAN_ROWS events, in each of which the events are sorted by
person: whoever asks for one reads some rows of each span and not of all parts, and to count people
takes half as long.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ingest.archive import rows, shredding
from ingest.archive.directory import Directory, Unfinished
from ingest.archive.manifest import File
from ingest.archive.rows import literal
from ingest.archive.workspace import Workspace

SPAN_ROWS: Final = 500_000
"""Four of DuckDB's row groups, which are read as one."""

_FORMAT: Final = (
    "FORMAT parquet, COMPRESSION zstd, WRITE_PAGE_INDEX true, DATA_PAGE_SIZE_LIMIT 16384"
)
"""Whoever looks for few rows reads some small pages of each column: 40 % less for one person."""
_SAMPLE: Final = f"USING SAMPLE reservoir({shredding.SAMPLE_ROWS} ROWS) REPEATABLE (1)"
_NAMES_MAX: Final = 1_000
"""Of so many names it is noted how often they are in a file: at 200 bytes each 200 KB at most."""
_SUMMARY: Final = f"""
SELECT sum(events)::BIGINT, min(earliest), max(latest), CASE WHEN count(*) <= {_NAMES_MAX}
    THEN list(json_array(name, events, latest) ORDER BY name)::JSON::VARCHAR END,
    min(first)::VARCHAR, max(last)::VARCHAR
FROM (
    SELECT name, count(*) AS events, epoch_us(min("at")) AS earliest, epoch_us(max("at")) AS latest,
        min(id) AS first, max(id) AS last
    FROM read_parquet({{}}) GROUP BY name)
"""


class Extent(NamedTuple):
    """How many events there are, and from when to when."""

    rows: int
    at_min_us: int
    at_max_us: int

    @property
    def order(self) -> str:
        """Return the SQL by which they are sorted."""
        spans = max(1, round(self.rows / SPAN_ROWS))
        length_us = math.ceil((self.at_max_us - self.at_min_us + 1) / spans)
        return f'(epoch_us("at") - {self.at_min_us}) // {length_us}, person, "at", id'


class Source(NamedTuple):
    """What is to be written: a SELECT of DuckDB's with the columns of a file, in their order."""

    app_id: int
    user_field: str
    select: str
    """With `params` as VARIANT."""
    texts: str
    """A SELECT of the parameters of a sample, as JSON text."""


def write(workspace: Workspace, directory: Directory, source: Source, mark: int) -> File:
    """Write and sync a file, and return how the manifest is to name it; raise ArchiveTrouble.

    It is not durable before the directory is synced.
    """
    file = directory.new(f"app{source.app_id}")
    to = literal(str(file.unfinished))
    workspace.duck.execute(
        f"COPY ({source.select}) TO {to} ({_FORMAT}{_shredding(workspace, source.texts)})"
    )
    return finish(workspace, file, source.app_id, source.user_field, mark)


def finish(workspace: Workspace, file: Unfinished, app_id: int, user_field: str, mark: int) -> File:
    """Sync a file that was written, and return how the manifest is to name it, as `write`."""
    (count, least, most, names, id_min, id_max) = workspace.duck.execute(
        _SUMMARY.format(literal(str(file.unfinished)))
    ).fetchall()[0]
    size, checksum = file.finish()
    return File(
        file.name,
        app_id,
        count,
        least,
        most,
        mark,
        size,
        checksum,
        user_field,
        id_min=id_min,
        id_max=id_max,
        names=names,
    )


def _shredding(workspace: Workspace, texts: str) -> str:
    found = workspace.duck.execute(
        f"SELECT params FROM ({texts}) WHERE length(params) <= {shredding.SAMPLE_BYTES_MAX}"
    ).fetchall()
    shape = shredding.shape(text for (text,) in found)
    return (
        f", SHREDDING {{params: {literal(shape)}}}" if shape else ", SHREDDING {params: 'VARIANT'}"
    )


def of_batch(workspace: Workspace, user_fields: Mapping[int, str]) -> list[Source]:
    """Return the events of each app in the table `batch`, as Postgres has sent them."""
    found = workspace.duck.execute(
        'SELECT app_id, count(*), epoch_us(min("at")), epoch_us(max("at")) FROM batch'
        " GROUP BY app_id ORDER BY app_id"
    ).fetchall()
    return [_of_app(app_id, user_fields, Extent(*extent)) for app_id, *extent in found]


def _of_app(app_id: int, user_fields: Mapping[int, str], extent: Extent) -> Source:
    of_app = f"FROM batch WHERE app_id = {app_id}"
    return Source(
        app_id,
        user_fields.get(app_id, rows.USER_FIELD),
        # Sorted as text: a VARIANT is larger.
        f"SELECT {rows.COLUMNS}, {rows.UNPACKED} AS params FROM (SELECT *, {rows.PACKED} AS packed"
        f" FROM (SELECT * {of_app} ORDER BY {extent.order}))",
        f"SELECT params {of_app} {_SAMPLE}",
    )


def of_part_without(path: Path, file: File, gone: str) -> Source:
    """Return the events of a part of a file but for those whose ids are in a table, in order."""
    of_part = f"FROM read_parquet({literal(str(path))})"
    left = f"{of_part} WHERE id NOT IN (SELECT id FROM {gone})"
    return Source(
        file.app_id,
        file.user_field,
        f"SELECT {rows.COLUMNS}, params {left}",
        f"SELECT params::JSON::VARCHAR AS params FROM (SELECT params {of_part} {_SAMPLE})",
    )


def of_files(directory: Directory, parts: Sequence[File], condition: str = "true") -> Source:
    """Return the events of files of one app of which a condition is true."""
    listed = ", ".join(literal(str(directory.path_of(each.name))) for each in parts)
    of_parts = f"FROM read_parquet([{listed}]) WHERE {condition}"
    extent = Extent(
        sum(each.rows for each in parts),
        min(each.at_min_us for each in parts),
        max(each.at_max_us for each in parts),
    )
    return Source(
        parts[0].app_id,
        parts[0].user_field,
        f"SELECT {rows.COLUMNS}, params {of_parts} ORDER BY {extent.order}",
        f"SELECT params::JSON::VARCHAR AS params FROM (SELECT params {of_parts} {_SAMPLE})",
    )
