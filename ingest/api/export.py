"""All events of a range, streamed: in memory is a piece at a time, as fast as the client reads.

By time and id, and from behind `after` on; see `insights/places.py` for what that promises. Each
piece is read from a view of its own, so that no snapshot and no file is held for as long as it
takes. A failure on the way ends the connection without an end of the body, and the last event that
came whole is where to go on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from aiohttp import hdrs, web

from ingest.api import asking, formats
from ingest.api.asking import Asked
from ingest.api.desk import Desk, TookTooLong, Work
from ingest.api.formats import Format
from ingest.api.parquet import ParquetFiles
from ingest.api.refusals import Code, Refused, invalid
from ingest.api.views import View
from ingest.archive.failures import OutOfMemory
from ingest.insights.places import Extract, Row

log = structlog.get_logger(__name__)

_PARAMETERS: Final = ("format", "from", "to", "timezone", "event", "where", "after", "variant")
_PART_EVENTS: Final = 100_000
"""So many events are looked through for one page, unless an hour has more."""
_PIECE_BYTES: Final = 4 * 1024 * 1024
_PAGE_USUAL: Final = 500
_PAGE_MAX: Final = 20_000
_GROWTH: Final = 4
_SHRINKING: Final = 8

Result = TypeVar("Result")


class Export:
    """Answers `/v1/export`."""

    parameters = frozenset(_PARAMETERS)

    def __init__(self, desk: Desk, files: ParquetFiles) -> None:
        self._desk = desk
        self._files = files

    async def send(
        self, request: web.BaseRequest, asked: Asked, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Send what is asked for; raise Refused as long as nothing is sent."""
        kind = asked.parameters.choice("format", ("ndjson", "csv", "parquet"), "ndjson")
        as_variant = asked.parameters.choice("variant", ("false", "true"), "false") == "true"
        if as_variant and kind != "parquet":
            raise invalid("variant", "only Parquet has it")
        extract = await self._extract(asked)
        named = {**headers, hdrs.CONTENT_DISPOSITION: f'attachment; filename="events.{kind}"'}
        if kind == "parquet":
            return await self._files.send(request, asked.app.id, extract, named, as_variant)
        lines = formats.NDJSON if kind == "ndjson" else formats.CSV
        return await self._send_lines(request, asked.app.id, extract, lines, named)

    async def _extract(self, asked: Asked) -> Extract:
        extract, text = asking.extract(asked), asked.parameters.one("after")
        if text is None:
            return extract
        try:
            event_id = UUID(text)
        except ValueError:
            raise invalid("after", "write the id of the last event that you have") from None
        place = await self._read(asked.app.id, extract, "place_of", event_id)
        if place is None:
            raise invalid("after", "there is no event with this id in the range")
        return extract._replace(after=place)

    async def _send_lines(
        self,
        request: web.BaseRequest,
        app_id: int,
        extract: Extract,
        lines: Format,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        hours = await self._read(app_id, extract, "hours")
        response = web.StreamResponse(headers={**headers, hdrs.CONTENT_TYPE: lines.kind})
        await response.prepare(request)
        with _aborting(request):
            await response.write(lines.head)
            async for rows in self._pages(app_id, extract.parts(hours, _PART_EVENTS)):
                await response.write(await asyncio.to_thread(_encode, lines, rows))
        return response

    async def _pages(self, app_id: int, parts: Iterator[Extract]) -> AsyncIterator[Sequence[Row]]:
        """Yield all events, about a piece at a time."""
        size = _PAGE_USUAL
        for part in parts:
            rest: Extract | None = part
            while rest is not None:
                try:
                    rows = await self._read(app_id, rest, "page", size)
                except OutOfMemory:
                    if size == 1:
                        raise
                    size = max(1, size // _SHRINKING)
                    continue
                yield rows
                rest = rest._replace(after=rows[-1].place) if len(rows) == size else None
                size = _next_size(size, rows)

    async def _read(self, app_id: int, extract: Extract, what: str, *more: object) -> Any:  # noqa: ANN401
        """Return what a function of `insights/extract.py` returns; raise Refused."""
        work = Work(self._desk.open_view, app_id, extract.reach, partial(_do, what, extract, more))
        try:
            return await self._desk.do(work)
        except TookTooLong:
            message = f"This takes longer than {self._desk.timeout_s:g} s; ask for a shorter range."
            raise Refused(Code.TOO_DEAR, message) from None


def _do(what: str, extract: Extract, more: Sequence[object], view: View) -> object:
    from ingest.insights import extract as reading  # noqa: PLC0415 - DuckDB, for those who ask
    from ingest.insights.sql import Source  # noqa: PLC0415 - the same

    does: Callable[..., object] = getattr(reading, what)
    return does(Source(view.connection, tuple(view.sources)), extract, *more)


def _encode(lines: Format, rows: Sequence[Row]) -> bytes:
    return b"".join(map(lines.encode, rows))


def _next_size(size: int, rows: Sequence[Row]) -> int:
    """Return how many events are about a piece, by those that were just read."""
    if not rows:
        return size
    fitting = _PIECE_BYTES * len(rows) // sum(200 + len(row.params) for row in rows)
    return max(1, min(fitting, size * _GROWTH, _PAGE_MAX))


@contextmanager
def _aborting(request: web.BaseRequest) -> Iterator[None]:
    """Where something fails, have the client see that the body has no end."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except ConnectionError:  # it has left
        return
    except Exception:
        log.exception("an export failed; its client goes on with after=ID")
        if request.transport is not None:
            request.transport.abort()
