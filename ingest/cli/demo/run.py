"""A demo that runs: its server, and what happens in the shop meanwhile."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Final

import click

from ingest import config
from ingest.cli.database import in_session
from ingest.cli.demo import entry, greeting, place, state
from ingest.cli.demo.entry import Entry
from ingest.cli.demo.server import Ended, Server
from ingest.cli.demo.state import State
from ingest.demo import filling, live
from ingest.demo.sending import Sender
from ingest.store.postgres import Connection

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_QUESTION: Final = "/v1/events?limit=1"
_NOTE_MS: Final = 10_000
"""So often it is noted up to when there are events."""


class Demo:
    """One run of a demo, in a directory that is held. To be used once."""

    def __init__(self, directory: Path, known: State, configuration: Path) -> None:
        self._directory = directory
        self._state = known
        self._configuration = configuration
        self._stopped = asyncio.Event()
        self._server: Server | None = None

    async def run(self, held: int) -> int:
        """Run until SIGINT, SIGTERM or SIGHUP; return the exit code. Raises StartupError."""
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        click.echo("Starting a server …")
        self._server = await Server.start(self._configuration, held)
        place.note_holder(held, self._server.pid)
        happening = asyncio.create_task(self._happen(self._server))
        ends = [asyncio.create_task(each) for each in (self._server.wait(), self._stopped.wait())]
        try:
            await asyncio.wait((happening, *ends), return_when=asyncio.FIRST_COMPLETED)
        finally:
            happening.cancel()
            await asyncio.wait((happening,))
            self._server.stop()
            code = await self._server.end()
        return self._judge(happening, code)

    def _stop(self) -> None:
        """Stop; whoever says so twice does not want to wait for the server's good order."""
        self._stopped.set()
        if self._server is not None:
            self._server.stop()

    def _judge(self, happening: "asyncio.Task[None]", code: int) -> int:
        """Return the exit code: one that nobody has asked to end has failed."""
        failure = None if happening.cancelled() else happening.exception()
        if self._stopped.is_set():
            return code
        if failure is not None and not isinstance(failure, Ended):
            raise failure
        return code or 1

    async def _happen(self, server: Server) -> None:
        """Fill the shop, greet, and let it go on, for ever."""
        await server.wait_until_ready()
        way_in = await asyncio.to_thread(self._open)
        async with Sender(server.address, way_in.write_key) as sender:
            told = await self._fill(sender)
            # A new server answers questions some time after it takes events.
            await sender.wait_until_answered(f"{server.dashboard}{_QUESTION}", way_in.read_key)
            places = greeting.Places(self._directory, self._configuration, server)
            click.echo(greeting.text(told, places, way_in))
            await live.go_on(sender, self._state.scale(), self._state.known, self._note)

    def _open(self) -> Entry:
        """Make the way in, in the server's own database."""

        async def work(connection: Connection) -> Entry:
            return await entry.make(connection, self._state)

        settings = config.load(self._configuration, {}, {})
        made = in_session(settings, work, migrate=False)
        self._state.write_key, self._state.read_key = made.write_key, made.read_key
        state.write(self._directory, self._state)
        return made

    async def _fill(self, sender: Sender) -> str:
        """Have everything there up to now, and return what is said of it."""
        is_new = self._state.until_ms == self._state.opened_ms
        events = 0
        if self._state.filling is not None:  # that one was broken off
            events += await self._fill_span(sender)
        events += await self._fill_span(sender)
        return greeting.made(events, self._state.days) if is_new else greeting.found(events)

    async def _fill_span(self, sender: Sender) -> int:
        span = self._state.begin_filling(_now_ms())
        state.write(self._directory, self._state)
        with greeting.progress(span) as tell:
            scale, known = self._state.scale(), self._state.known
            filled = await filling.fill(sender, scale, span, known, tell)
            tell(span.end_ms)
        self._state.end_filling(filled.known)
        state.write(self._directory, self._state)
        return filled.events

    def _note(self, at_ms: int, known: int) -> None:
        """Note now and then that there are events up to a time."""
        if at_ms - self._state.until_ms >= _NOTE_MS:
            self._state.until_ms, self._state.known = at_ms, known
            state.write(self._directory, self._state)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
