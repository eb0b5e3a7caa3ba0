"""SIGHUP: what may change while the server runs is read anew."""

import asyncio
import signal
from collections.abc import Callable
from typing import TypeVar

import structlog

from ingest.errors import StartupError

log = structlog.get_logger(__name__)

Settings = TypeVar("Settings")


async def run(read: Callable[[], Settings], follow: Callable[[Settings], None]) -> None:
    """At each SIGHUP `read` in a thread, and `follow` that; what can't be read changes nothing."""
    came = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, came.set)
    while True:
        await came.wait()
        came.clear()
        try:
            settings = await asyncio.to_thread(read)
        except StartupError as error:
            why = str(error)  # in words for an operator, who has no use for a traceback
            log.error("the configuration can't be read anew", reason=why)  # noqa: TRY400
        else:
            follow(settings)
