"""All events of a range, streamed page by page, as fast as the client reads.

By time and id, and from behind `after` on; see `insights/places.py` for what that promises. Each
page is read from a view of its own, so that no snapshot and no file of the archive is held for as
long as it takes. A failure on the way ends the connection without an end of the body, and the last
event that came whole is where to go on.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from aiohttp import hdrs, web

from ingest.api import asking, files, formats, ranges
from ingest.api.asking import Asked
from ingest.api.desk import Desk, TookTooLong, Work
from ingest.api.formats import Format
from ingest.api.pages import Pages
from ingest.api.parquet import ParquetFiles
from ingest.api.refusals import Code, Refused, invalid
from ingest.api.views import View, source_of
from ingest.archive.scope import Nothing, One, Portion, Scope
from ingest.insights import reach
from ingest.insights.places import Extract
from ingest.insights.questions import Cursor

_PARAMETERS: Final = ("format", "event", "where", "after", "variant", *ranges.NAMES)
_PART_EVENTS: Final = 100_000
"""So many events of the archive are looked through for one page, unless an hour has more."""

Result = TypeVar("Result")


class Export:
    """Answers `/v1/export`."""

    parameters = frozenset(_PARAMETERS)

    def __init__(self, desk: Desk, directory: Path) -> None:
        """`directory` is where files are written; nothing stays in it."""
        self._desk = desk
        self._pages = Pages(desk, directory)
        self._files = ParquetFiles(desk, directory)

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
        look = partial(_place_of, extract, event_id)
        place = await self._find(asked.app.id, extract, One(event_id), look)
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
        hours = await self._find(app_id, extract, Nothing(), partial(_hours_of, extract))
        parts = extract.parts(hours, _PART_EVENTS)
        response = web.StreamResponse(headers={**headers, hdrs.CONTENT_TYPE: lines.kind})
        await response.prepare(request)
        with files.aborting(request):
            await response.write(lines.head)
            async for file in self._pages.read(app_id, parts, lines.encode):
                with files.closed(file):
                    await files.send(response, file)
        return response

    async def _find(
        self, app_id: int, extract: Extract, tail: Portion, look: Callable[[View], Result]
    ) -> Result:
        """Return what a look into a view finds; raise Refused."""
        scope = Scope(*extract.reach, tail, reach.means_people(extract.selection))
        work = Work(self._desk.open_view, app_id, scope, look)
        try:
            return await self._desk.do(work)
        except TookTooLong:
            message = f"This takes longer than {self._desk.timeout_s:g} s; ask for a shorter range."
            raise Refused(Code.TOO_DEAR, message) from None


def _place_of(extract: Extract, event_id: UUID, view: View) -> Cursor | None:
    from ingest.insights import extract as reading  # noqa: PLC0415 - DuckDB, for those who ask

    return reading.place_of(source_of(view), extract, event_id)


def _hours_of(extract: Extract, view: View) -> Sequence[tuple[datetime, int]]:
    from ingest.insights import extract as reading  # noqa: PLC0415 - as above

    return reading.hours(source_of(view), extract)
