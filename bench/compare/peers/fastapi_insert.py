"""What most people would write first: FastAPI and uvicorn, one INSERT a request through a pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import click
import orjson
import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field

from bench.compare.peers.common import Row, digest, greet, load_keys, new_id, options, success

_POOL_CONNECTIONS = 20
_INSERT = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " VALUES ($1, $2, $3, $4, $5)"
)


class Event(BaseModel):
    """A request's body."""

    event_name: str = Field(min_length=1, max_length=255)
    event_params: dict[str, Any] | None = None


def make_app(database_url: str) -> FastAPI:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.keys = await load_keys(database_url)
        async with asyncpg.create_pool(
            database_url, min_size=_POOL_CONNECTIONS, max_size=_POOL_CONNECTIONS
        ) as app.state.pool:
            yield

    app = FastAPI(lifespan=lifespan)
    app.post("/event")(post_event)
    return app


async def post_event(
    event: Event, request: Request, x_api_key: Annotated[str, Header()]
) -> Response:
    """Insert an event and answer once it is committed."""
    state = request.app.state
    app_id = state.keys.get(digest(x_api_key))
    if app_id is None:
        raise HTTPException(401, "a known X-API-Key is required")
    params = orjson.dumps(event.event_params or {}).decode()
    row = Row(app_id, new_id(), event.event_name, params, datetime.now(UTC))
    await state.pool.execute(_INSERT, *row)
    # A ready Response: without it FastAPI would validate and encode the answer once more.
    return Response(success(row), media_type="application/json")


class Server(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401 - uvicorn's own
        """Start, and greet."""
        await super().startup(sockets)
        if self.started:
            greet(self.servers[0].sockets[0].getsockname()[1])


@click.command()
@options
def main(database_url: str, port: int) -> None:
    """Store events with one INSERT each."""
    settings = uvicorn.Config(
        make_app(database_url),
        port=port,
        loop="uvloop",
        http="httptools",
        backlog=2048,
        access_log=False,
        log_level="warning",
    )
    Server(settings).run()


if __name__ == "__main__":
    main()
