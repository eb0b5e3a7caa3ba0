"""The life of the insights process: it begins, serves until it is told to stop, and ends."""

import asyncio
import socket
from collections.abc import Callable

import structlog

from ingest.app.background import Background
from ingest.config import Config
from ingest.observe import loop_lag
from ingest.observe.insights import InsightsPublisher
from ingest.share.member import Member
from ingest.store.postgres import Postgres

log = structlog.get_logger(__name__)


class Insights:
    """One insights process. It never takes an event, and no event waits for it."""

    def __init__(self, config: Config, postgres: Postgres, member: Member) -> None:
        self._config = config
        self._postgres = postgres
        self._publisher = InsightsPublisher(member)
        self._background = Background(self._fail)
        self._stop = asyncio.Event()
        self._has_failed = False

    def stop(self) -> None:
        """Stop at once: whoever waits for an answer asks again."""
        self._stop.set()

    def _fail(self) -> None:
        self._has_failed = True
        self.stop()

    async def run(self, bound: socket.socket | None, when_ready: Callable[[], None]) -> bool:
        """Serve until told to stop; return whether it ended in good order."""
        self._background.own("loop lag", loop_lag.watch(self._publisher.tick))
        del bound  # nobody is answered yet
        when_ready()
        await self._stop.wait()
        await self._background.end()
        return not self._has_failed
