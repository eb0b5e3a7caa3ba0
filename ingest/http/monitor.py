"""The operators' own address: `/metrics`, `/readyz` and `/healthz`, apart from where events arrive.

It has connections and memory of its own, so it answers when clients have taken all of theirs, and
goes on until everything else has stopped.
"""

import socket
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from aiohttp import web

from ingest.config import Limits, Monitoring
from ingest.http.budget import Budget
from ingest.http.listener import Listener
from ingest.http.router import Route, Router
from ingest.observe.metrics import Metrics

log = structlog.get_logger(__name__)

_CONNECTIONS_MAX: Final = 64
_BYTES_MAX: Final = 16 * 1024 * 1024


class Monitor:
    """Serves some routes on an address of their own."""

    def __init__(
        self, address: Monitoring, routes: Mapping[str, Route], metrics: Metrics, limits: Limits
    ) -> None:
        self._address = address
        router = Router(routes, metrics)
        few = msgspec.structs.replace(limits, connections_max=_CONNECTIONS_MAX)
        self._listener = Listener(web.Server(router.dispatch), few, metrics, Budget(_BYTES_MAX))

    async def open(self, bound: socket.socket) -> None:
        """Serve from now on at a socket that all processes of the server share; raise OSError."""
        await self._listener.listen([bound])
        log.info("metrics are served", host=self._address.host, port=self._address.port)

    async def pass_on(self) -> None:
        """Take nobody in any more: the other processes do, or the server ends."""
        await self._listener.pass_on()

    async def run(self) -> None:
        """Enforce the time-outs of connections for ever."""
        await self._listener.run()

    async def close(self) -> None:
        """Close every connection."""
        await self.pass_on()
        await self._listener.close()
