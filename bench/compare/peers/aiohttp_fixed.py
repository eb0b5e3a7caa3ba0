"""The framework's ceiling: a bare aiohttp handler with a fixed answer. It stores nothing."""

import asyncio

import click
import uvloop
from aiohttp import web

from bench.compare.peers.common import FIXED_BODY, greet, options


async def post_event(_: web.Request) -> web.Response:
    """Answer without a look at the request."""
    return web.Response(body=FIXED_BODY, content_type="application/json")


async def serve(port: int) -> None:
    """Serve until killed."""
    application = web.Application()
    application.router.add_post("/event", post_event)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2048).start()
    greet(runner.addresses[0][1])
    await asyncio.Event().wait()


@click.command()
@options
def main(database_url: str, port: int) -> None:
    """Answer every POST with the same 200."""
    del database_url  # it stores nothing
    uvloop.run(serve(port))


if __name__ == "__main__":
    main()
