"""The life of the insights process: it begins, serves until it is told to stop, and ends."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from ingest.api.readers import Lookup
from ingest.app.background import Background
from ingest.archive.archiver import Archiver
from ingest.archive.view import views_of
from ingest.config import Config
from ingest.dashboard.ingest_address import IngestAddress
from ingest.dashboard.live.hub import Hub
from ingest.dashboard.server import Server
from ingest.observe import loop_lag
from ingest.observe.insights import InsightsPublisher
from ingest.privacy.duty import Duty
from ingest.share.member import Member
from ingest.store import archive_report
from ingest.store.failures import Unavailable
from ingest.store.kept import Kept
from ingest.store.last_uses import LastUses
from ingest.store.postgres import Postgres
from ingest.store.reader_lookup import ReaderLookup

log = structlog.get_logger(__name__)

_REPORT_TIMEOUT_S: Final = 5.0
_LOOK_S: Final = 1.0
_REPORT_S: Final = 10.0
"""So often Postgres is asked how the archive is."""
_REST_AFTER_S: Final = 60.0
"""Nobody has asked for so long: then DuckDB's memory and its connections are given back."""


class Insights:
    """One insights process. It never takes an event, and no event waits for it."""

    def __init__(
        self,
        config: Config,
        database_url: str,
        postgres: Postgres,
        member: Member,
        port: int | None = None,
    ) -> None:
        """`port` is where the server takes events by TCP."""
        self._postgres = postgres
        self._kept = Kept(postgres)
        self._publisher = InsightsPublisher(member)
        self._background = Background(self._fail)
        self._stop = asyncio.Event()
        self._has_failed = False
        archive = config.archive
        directory = Path(archive.path)
        self._views = views_of(config, database_url)
        self._archiver = Archiver(
            database_url,
            directory,
            interval_s=archive.interval_s,
            memory_max=archive.memory_max,
            threads=archive.threads,
        )
        self._keeps_archive = archive.enabled
        lookup = ReaderLookup(self._kept)
        self._last_uses = LastUses(postgres, lookup.take_used)
        self._hub = Hub(postgres, member.segment)
        self._server = Server(
            self._views.view,
            Lookup(lookup.find, lookup.find_eraser),
            self._kept,
            self._hub,
            IngestAddress(config.dashboard.ingest_url, port),
            config,
        )
        self._duty = Duty(postgres, database_url, config, self._server.asked_to_erase)

    def stop(self) -> None:
        """Stop at once: whoever waits for an answer asks again."""
        self._stop.set()

    def _fail(self) -> None:
        self._has_failed = True
        self.stop()

    async def run(self, bound: socket.socket | None, when_ready: Callable[[], None]) -> bool:
        """Serve until told to stop; return whether it ended in good order."""
        own = self._background.own
        own("loop lag", loop_lag.watch(self._publisher.tick))
        own("look", self._look())
        own("report", self._report())
        own("last uses", self._last_uses.run())
        own("erasing", self._duty.run())
        if self._keeps_archive:
            own("archiver", self._archiver.run())
        if bound is not None:
            await self._server.listen(bound)
            own("sweep", self._server.sweep())
            own("watch", self._server.watch())
            own("live", self._hub.run())
        when_ready()
        await self._stop.wait()
        await self._server.close()
        await self._background.end()
        await self._hub.rest()
        await self._kept.rest()
        return not self._has_failed

    async def _report(self) -> None:
        """Publish how the archive is, for ever; while Postgres is away, how it was."""
        while True:
            try:
                async with self._postgres.session(_REPORT_TIMEOUT_S) as connection:
                    found = await archive_report.read(connection)
            except Unavailable:
                pass  # the workers say so
            else:
                self._publisher.note(**found._asdict())
            await asyncio.sleep(_REPORT_S)

    async def _look(self) -> None:
        """Note how things are, for ever, and rest when nobody asks."""
        loop = asyncio.get_running_loop()
        asked_s, is_resting = loop.time(), True
        while True:
            await asyncio.sleep(_LOOK_S)
            self._publisher.note(
                questions=self._server.questions,
                postgres_connections=self._postgres.open_connections,
            )
            if self._server.has_been_used():
                asked_s, is_resting = loop.time(), False
            elif not is_resting and loop.time() - asked_s > _REST_AFTER_S:
                await asyncio.to_thread(self._views.rest)
                await self._kept.rest()
                is_resting = True
