"""What listens where people sign in and questions are asked: one door for pages and for `/v1`."""

import socket
from pathlib import Path
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from msgspec.structs import replace

from ingest.api.allowance import Allowance
from ingest.api.answering import Answering
from ingest.api.desk import Desk
from ingest.api.export import Export
from ingest.api.people import People
from ingest.api.readers import Lookup, Readers
from ingest.api.site import Site as QuestionSite
from ingest.api.views import OpenView
from ingest.config import Config
from ingest.dashboard.backoff import Backoff
from ingest.dashboard.condition import bounds_of
from ingest.dashboard.ingest_address import IngestAddress
from ingest.dashboard.live.hub import Hub
from ingest.dashboard.passwords import Passwords
from ingest.dashboard.questions import Questions
from ingest.dashboard.seen import Seen
from ingest.dashboard.services import Services
from ingest.dashboard.site import Site
from ingest.dashboard.watch import Watch
from ingest.http.budget import Budget
from ingest.http.listener import Listener
from ingest.observe.metrics import Metrics
from ingest.store.kept import Kept

_CONNECTIONS_MAX: Final = 256
_BYTES_MAX: Final = 32 * 1024 * 1024
"""What all requests and answers hold together; exports hold what they send."""
_END_S: Final = 3.0
_VERSIONS: Final = (HttpVersion11, HttpVersion10)


class Server:
    """Answers on one socket."""

    def __init__(
        self,
        open_view: OpenView,
        lookup: Lookup,
        kept: Kept,
        live: Hub,
        ingest_address: IngestAddress,
        config: Config,
    ) -> None:
        dashboard, limits = config.dashboard, config.limits
        directory = Path(config.archive.path) / "temporary"  # nothing stays in it
        self._desk = Desk(open_view, dashboard.question_timeout_s)
        allowance = Allowance(dashboard.questions_per_minute_max)
        readers = Readers(lookup)
        answering, export = Answering(self._desk), Export(self._desk, directory)
        people = People(self._desk, kept, config)
        self.asked_to_erase = people.asked_to_erase
        self._questions = QuestionSite(answering, export, people, readers, allowance)
        questions = Questions(answering, dashboard.questions_per_minute_max)
        self._live = live
        self._watch = Watch(live.segment, bounds_of(config))
        services = Services(
            kept,
            Passwords(),
            Backoff(),
            questions,
            export,
            people,
            live.segment,
            self._watch,
            Seen(),
            config,
            live,
            ingest_address,
        )
        self._pages = Site(services, limits)
        self._listener = Listener(
            web.Server(self._dispatch, handler_cancellation=True),
            replace(limits, connections_max=_CONNECTIONS_MAX),
            Metrics(),
            Budget(_BYTES_MAX),
        )
        self._visits = 0
        self._seen = (0, 0)

    @property
    def questions(self) -> int:
        """How many wait or are being answered."""
        return self._desk.questions

    def has_been_used(self) -> bool:
        """Whether somebody was here since this was looked at last, or waits for an answer."""
        before, self._seen = self._seen, (self._desk.asked, self._visits)
        return self._desk.questions > 0 or self._seen != before

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        if request._version not in _VERSIONS:  # noqa: SLF001 - `version` would be cached
            request._version = HttpVersion11  # noqa: SLF001 - and the answer would repeat it
        if not self._is_for_people(request):
            return await self._questions.dispatch(request)
        self._visits += 1
        return await self._pages.dispatch(request)

    def _is_for_people(self, request: web.BaseRequest) -> bool:
        """Return whether a page answers: where there is nothing, that depends on who asks."""
        if self._questions.has(request.path):
            return False
        return self._pages.has(request.path) or "text/html" in request.headers.get(hdrs.ACCEPT, "")

    async def listen(self, bound: socket.socket) -> None:
        """Answer from now on; raise StartupError."""
        await self._listener.listen([bound])

    async def sweep(self) -> None:
        """Enforce the time-outs of connections for ever."""
        await self._listener.run()

    async def watch(self) -> None:
        """Look for ever how the server is."""
        await self._watch.run()

    async def close(self) -> None:
        """Take nobody in any more, and end what is asked: within some seconds."""
        await self._listener.pass_on()
        self._live.close()
        await self._listener.close()
        await self._desk.close(_END_S)
