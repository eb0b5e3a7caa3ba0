"""Writes the events of one app to a file, in some order, their parameters as a VARIANT."""

from enum import Enum
from typing import Final, NamedTuple

from ingest.archive import rows, shredding
from ingest.archive.directory import Directory
from ingest.archive.manifest import File
from ingest.archive.rows import literal
from ingest.archive.workspace import Workspace

SAMPLE_ROWS: Final = shredding.SAMPLE_ROWS

_NAMES_MAX: Final = 1_000
"""Of so many names it is noted how often they are in a file: at 200 bytes each 200 KB at most."""
_SUMMARY: Final = f"""
SELECT sum(events)::BIGINT, min(earliest), max(latest), CASE WHEN count(*) <= {_NAMES_MAX}
    THEN list(json_array(name, events, latest) ORDER BY name)::JSON::VARCHAR END
FROM (
    SELECT name, count(*) AS events, epoch_us(min("at")) AS earliest, epoch_us(max("at")) AS latest
    FROM read_parquet({{}}) GROUP BY name)
"""


class Kind(Enum):
    """How a file came to be, as its name says."""

    NEW = "new"
    MERGED = "merged"

    def is_of(self, name: str) -> bool:
        """Return whether a file of this name is of this kind."""
        return name.startswith(f"{self.value}-")


class Source(NamedTuple):
    """What is to be written: a SELECT of DuckDB's with the columns of a file."""

    app_id: int
    user_field: str
    kind: Kind
    select: str
    """With `params` as VARIANT."""
    texts: str
    """A SELECT of the parameters of a sample, as JSON text."""
    order: str = '"at", id'


def write(workspace: Workspace, directory: Directory, source: Source, mark: int) -> File:
    """Write and sync a file, and return how the manifest is to name it; raise ArchiveTrouble.

    It is not durable before the directory is synced.
    """
    file = directory.new(f"{source.kind.value}-app{source.app_id}")
    to = literal(str(file.unfinished))
    workspace.duck.execute(
        f"COPY ({source.select} ORDER BY {source.order}) TO {to}"
        f" (FORMAT parquet, COMPRESSION zstd{_shredding(workspace, source.texts)})"
    )
    (count, least, most, names) = workspace.duck.execute(_SUMMARY.format(to)).fetchall()[0]
    size, checksum = file.finish()
    return File(
        file.name, source.app_id, count, least, most, mark, size, checksum, source.user_field, names
    )


def _shredding(workspace: Workspace, texts: str) -> str:
    found = workspace.duck.execute(
        f"SELECT params FROM ({texts}) WHERE length(params) <= {shredding.SAMPLE_BYTES_MAX}"
    ).fetchall()
    shape = shredding.shape(text for (text,) in found)
    return (
        f", SHREDDING {{params: {literal(shape)}}}" if shape else ", SHREDDING {params: 'VARIANT'}"
    )


def of_batch(app_id: int, user_field: str) -> Source:
    """Return the events of an app in the table `batch`, as Postgres has sent them."""
    of_app = f"FROM batch WHERE app_id = {app_id}"
    return Source(
        app_id,
        user_field,
        Kind.NEW,
        # Sorted as text: a VARIANT is larger.
        f"SELECT {rows.COLUMNS}, {rows.VARIANT} AS params {of_app}",
        f"SELECT params {of_app} USING SAMPLE reservoir({SAMPLE_ROWS} ROWS) REPEATABLE (1)",
    )
