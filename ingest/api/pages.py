"""The pages of an export: each read from a view of its own, and kept in a file until it is sent.

A page is as many events as are about _PAGE_BYTES, of the tail and as they are written; so is what
is read of the tail for it, so that all pages together read of it about what they hold. The file has
no name, and a small page none at all: however slowly it is sent, nothing else is held for it.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Final, NamedTuple

from ingest.api.desk import Desk, TookTooLong, Work
from ingest.api.views import View, source_of
from ingest.archive.failures import OutOfMemory
from ingest.archive.scope import First, Scope
from ingest.insights.places import Extract, Row
from ingest.insights.questions import Cursor

_PAGE_BYTES: Final = 16 * 1024 * 1024
_IN_MEMORY_BYTES: Final = 256 * 1024
_EVENT_BYTES: Final = 200
"""Of an event of the tail, beside its parameters."""
_SIZE_USUAL: Final = 500
_SIZE_MAX: Final = 50_000
_GROWTH: Final = 4
_SHRINKING: Final = 8

Encode = Callable[[Row], bytes]


class _Page(NamedTuple):
    file: IO[bytes]
    """At its beginning."""
    end: Cursor | None
    """Behind which to go on; None if nothing is left."""
    events: int
    """So many were written, or read of the tail, if those are more."""
    bytes: int
    """What these were, written or read."""


class Pages:
    """Reads them, in a directory of archives and nothing else."""

    def __init__(self, desk: Desk, directory: Path) -> None:
        self._desk = desk
        self._directory = directory

    async def read(
        self, app_id: int, parts: Iterator[Extract], encode: Encode
    ) -> AsyncIterator[IO[bytes]]:
        """Yield all events as files, each to be closed; raise TookTooLong, ArchiveTrouble."""
        size = _SIZE_USUAL
        for part in parts:
            rest: Extract | None = part
            while rest is not None:
                try:
                    page = await self._page(app_id, rest, size, encode)
                except (OutOfMemory, TookTooLong):
                    if size == 1:
                        raise
                    size = max(1, size // _SHRINKING)
                    continue
                yield page.file
                rest = None if page.end is None else rest._replace(after=page.end)
                size = _next_size(size, page)

    async def _page(self, app_id: int, extract: Extract, size: int, encode: Encode) -> _Page:
        after = extract.after
        portion = First(size, None if after is None else (after.at, after.id))
        do = partial(_write, extract, size, encode, self._directory)
        scope = Scope(*extract.reach, portion)
        return await self._desk.do(Work(self._desk.open_view, app_id, scope, do))


def _write(extract: Extract, size: int, encode: Encode, directory: Path, view: View) -> _Page:
    from ingest.insights import extract as reading  # noqa: PLC0415 - DuckDB, for those who ask

    until = None if view.until is None else Cursor(*view.until)
    rows, end = reading.page(source_of(view), extract._replace(until=until), size)
    directory.mkdir(parents=True, exist_ok=True)
    file = SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(directory))  # noqa: SIM115 - it is sent
    try:
        lines = 0
        for row in rows:
            file.write(encode(row))
            lines += 1
        length = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    read = view.tail_rows * _EVENT_BYTES + view.tail_bytes
    return _Page(file, end, max(lines, view.tail_rows), max(length, read))


def _next_size(size: int, page: _Page) -> int:
    """Return how many events are about a page, by those that were just read."""
    if not page.events:
        return size
    fitting = _PAGE_BYTES * page.events // page.bytes
    return max(1, min(fitting, size * _GROWTH, _SIZE_MAX))
