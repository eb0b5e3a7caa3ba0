"""What listens where questions are asked: the connections of ingestion's own make, and the site."""

import socket
from pathlib import Path
from typing import Final

from aiohttp import web
from msgspec.structs import replace

from ingest.api.allowance import Allowance
from ingest.api.desk import Desk
from ingest.api.readers import Find, Readers
from ingest.api.site import Site
from ingest.api.views import OpenView
from ingest.config import Dashboard, Limits
from ingest.http.budget import Budget
from ingest.http.listener import Listener
from ingest.observe.metrics import Metrics

_CONNECTIONS_MAX: Final = 256
_BYTES_MAX: Final = 32 * 1024 * 1024
"""What all requests and answers hold together; exports hold what they send."""
_END_S: Final = 3.0


class Server:
    """Answers questions on one socket."""

    def __init__(
        self,
        open_view: OpenView,
        find: Find,
        directory: Path,
        dashboard: Dashboard,
        limits: Limits,
    ) -> None:
        self._desk = Desk(open_view, dashboard.question_timeout_s)
        allowance = Allowance(dashboard.questions_per_minute_max)
        site = Site(self._desk, Readers(find), allowance, directory)
        self._listener = Listener(
            web.Server(site.dispatch, handler_cancellation=True),
            replace(limits, connections_max=_CONNECTIONS_MAX),
            Metrics(),
            Budget(_BYTES_MAX),
        )
        self._asked = 0

    @property
    def questions(self) -> int:
        """How many wait or are being answered."""
        return self._desk.questions

    def has_been_asked(self) -> bool:
        """Whether there was a question since this was looked at last, or is one."""
        before, self._asked = self._asked, self._desk.asked
        return self._desk.questions > 0 or self._asked != before

    async def listen(self, bound: socket.socket) -> None:
        """Answer from now on; raise StartupError."""
        await self._listener.listen([bound])

    async def sweep(self) -> None:
        """Enforce the time-outs of connections for ever."""
        await self._listener.run()

    async def close(self) -> None:
        """Take nobody in any more, and end what is asked: within some seconds."""
        await self._listener.pass_on()
        await self._listener.close()
        await self._desk.close(_END_S)
