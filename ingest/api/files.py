"""Files that are sent: read in threads, and none is waited for without end."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final, ParamSpec, TypeVar

import structlog
from aiohttp import web

log = structlog.get_logger(__name__)

_READ_BYTES: Final = 256 * 1024
_TIMEOUT_S: Final = 30.0

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def in_time(
    work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Return what comes of work on the disk; raise TimeoutError where that hangs."""
    async with asyncio.timeout(_TIMEOUT_S):
        return await asyncio.to_thread(work, *args, **kwargs)


@contextmanager
def closed(file: IO[bytes]) -> Iterator[None]:
    """Have a file closed in the end; nobody waits for it, as for a thread that still reads."""
    try:
        yield
    finally:
        asyncio.get_running_loop().run_in_executor(None, file.close)


async def send(response: web.StreamResponse, file: IO[bytes]) -> None:
    """Send a file from where it is on; raise TimeoutError as `in_time`."""
    while piece := await in_time(file.read, _READ_BYTES):
        await response.write(piece)


@contextmanager
def aborting(request: web.BaseRequest) -> Iterator[None]:
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
