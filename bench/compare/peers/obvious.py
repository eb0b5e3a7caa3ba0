"""The obvious version: aiohttp, an asyncio.Queue, and writers that COPY whatever has gathered.

It answers 200 after COMMIT, as ours does.
"""

import asyncio

import asyncpg
import click
import uvloop
from aiohttp import web

from bench.compare.peers.common import (
    COLUMNS,
    BadEventError,
    Row,
    digest,
    failure,
    greet,
    load_keys,
    options,
    parse,
    success,
)

_QUEUE_EVENTS_MAX = 100_000
_BATCH_EVENTS_MAX = 5_000
_WRITERS = 2
_COMMIT_TIMEOUT_S = 30.0

Item = tuple[Row, "asyncio.Future[None]"]


class Api:
    """The handler and the writers behind it."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", keys: dict[bytes, int]) -> None:
        self._pool = pool
        self._keys = keys
        self._queue: asyncio.Queue[Item] = asyncio.Queue(_QUEUE_EVENTS_MAX)

    async def post_event(self, request: web.Request) -> web.Response:
        """Queue an event and answer once it is committed."""
        app_id = self._keys.get(digest(request.headers.get("X-API-Key", "")))
        if app_id is None:
            return _refuse(401, "a known X-API-Key is required")
        try:
            row = parse(app_id, await request.read())
        except BadEventError as error:
            return _refuse(400, str(error))
        committed = asyncio.get_running_loop().create_future()
        await self._queue.put((row, committed))
        await committed
        return web.Response(body=success(row), content_type="application/json")

    async def write(self) -> None:
        """Commit batches for ever: what gathers while one COPY runs is the next."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH_EVENTS_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._copy([row for row, _ in batch])
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                _settle(batch, error)
            else:
                _settle(batch, None)

    async def _copy(self, rows: list[Row]) -> None:
        async with self._pool.acquire() as connection:
            await connection.copy_records_to_table(
                "events", records=rows, columns=COLUMNS, timeout=_COMMIT_TIMEOUT_S
            )


def _settle(batch: list[Item], error: Exception | None) -> None:
    for _, committed in batch:
        if committed.done():
            continue
        if error is None:
            committed.set_result(None)
        else:
            committed.set_exception(error)


def _refuse(status: int, message: str) -> web.Response:
    return web.Response(status=status, body=failure(message), content_type="application/json")


async def serve(database_url: str, port: int) -> None:
    """Serve until killed."""
    keys = await load_keys(database_url)
    async with asyncpg.create_pool(database_url, min_size=_WRITERS, max_size=_WRITERS) as pool:
        api = Api(pool, keys)
        application = web.Application()
        application.router.add_post("/event", api.post_event)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=2048).start()
        greet(runner.addresses[0][1])
        await asyncio.gather(*(api.write() for _ in range(_WRITERS)))


@click.command()
@options
def main(database_url: str, port: int) -> None:
    """Store events with a queue and COPY."""
    uvloop.run(serve(database_url, port))


if __name__ == "__main__":
    main()
