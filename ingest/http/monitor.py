"""The operators' own address: `/metrics`, `/readyz` and `/healthz`, apart from where events arrive.

It has connections and memory of its own, so it answers when clients have taken all of theirs, and
goes on until everything else has stopped.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from aiohttp import web

from ingest.config import Limits, Monitoring
from ingest.errors import StartupError
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
        self._bound: socket.socket | None = None
        self._is_shared = False
        """Whether other processes have the socket as well."""

    def bind(self, bound: socket.socket | None = None) -> None:
        """Take the address, before anything is started, or a socket that has it already.

        Raises StartupError.
        """
        self._is_shared = bound is not None
        self._bound = bound or self._bind()

    def _bind(self) -> socket.socket:
        host, port = self._address.host, self._address.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family)
        except OSError as error:
            raise StartupError(
                f"can't listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
                "set metrics.host and metrics.port"
            ) from error

    async def open(self) -> None:
        """Serve from now on; who came before this has waited."""
        await self._listener.listen([self._bound or self._bind()])
        log.info("metrics are served", host=self._address.host, port=self._address.port)

    async def run(self) -> None:
        """Enforce the time-outs of connections for ever."""
        await self._listener.run()

    async def close(self) -> None:
        """Close the address and every connection to it; a socket that was handed in goes on."""
        if self._is_shared:
            await self._listener.pass_on()
        else:
            await self._listener.stop_listening()
        await self._listener.close()
