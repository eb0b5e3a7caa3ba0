"""Exports as Parquet: written to a file first, since its end says where everything is.

One at a time, of one view: what does not fit in DuckDB's memory is on disk meanwhile. The file has
no name any more when it is sent, so nothing stays of it.
"""

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Final
from uuid import uuid4

from aiohttp import hdrs, web

from ingest.api import files
from ingest.api.desk import Desk, TookTooLong, Work
from ingest.api.refusals import Code, Refused
from ingest.api.views import View, source_of
from ingest.archive.failures import OutOfMemory
from ingest.archive.scope import Scope
from ingest.insights.places import Extract

KIND: Final = "application/vnd.apache.parquet"
_TIMEOUT_S: Final = 120.0
_WAIT_S: Final = 30.0


class ParquetFiles:
    """Makes them in a directory, of archives and nothing else."""

    def __init__(self, desk: Desk, directory: Path) -> None:
        self._desk = desk
        self._directory = directory
        self._writing = asyncio.Lock()

    async def send(
        self,
        request: web.BaseRequest,
        app_id: int,
        extract: Extract,
        headers: Mapping[str, str],
        as_variant: bool,  # noqa: FBT001 - the client's word
    ) -> web.StreamResponse:
        """Write a file and send it; raise Refused as long as nothing is sent."""
        file = await self._write(app_id, extract, as_variant=as_variant)
        with files.closed(file):
            response = web.StreamResponse(headers={**headers, hdrs.CONTENT_TYPE: KIND})
            response.content_length = (await files.in_time(os.fstat, file.fileno())).st_size
            await response.prepare(request)
            with files.aborting(request):
                await files.send(response, file)
            return response

    async def _write(self, app_id: int, extract: Extract, *, as_variant: bool) -> IO[bytes]:
        """Return a file that is whole."""
        path = self._directory / f"export-{uuid4()}.parquet"
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._writing.acquire()
        except TimeoutError:
            message = "Another Parquet file is being written; ask again."
            raise Refused(Code.OVERLOADED, message, retry_after_s=10) from None
        try:
            do = partial(_write, extract, path, as_variant)
            await self._desk.do(
                Work(self._desk.open_view, app_id, Scope(*extract.reach), do), _TIMEOUT_S
            )
            return await files.in_time(path.open, "rb", buffering=0)
        except (TookTooLong, OutOfMemory):
            message = "This is too much for one Parquet file; ask for a shorter range, or NDJSON."
            raise Refused(Code.TOO_DEAR, message) from None
        finally:
            self._writing.release()
            await files.in_time(path.unlink, missing_ok=True)


def _write(extract: Extract, path: Path, as_variant: bool, view: View) -> None:  # noqa: FBT001
    from ingest.insights import extract as reading  # noqa: PLC0415 - DuckDB, for those who ask

    path.parent.mkdir(parents=True, exist_ok=True)
    reading.copy_to(source_of(view), extract, str(path), as_variant=as_variant)
