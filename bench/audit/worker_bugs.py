"""Seeded bugs of what supervisor and workers promise: some are the one's, some the others'."""

# ruff: noqa: SLF001 - bugs are made inside

import asyncio
import os
from collections.abc import Callable, Container
from typing import Final

import psutil

from bench.audit.patch import replace
from ingest.app.server import App
from ingest.cli.channel import Actions, Heeding
from ingest.config import RETIRE_S, Config
from ingest.share.segment import Segment
from ingest.share.slot import Figures
from ingest.spool.orphans import Orphans
from ingest.supervisor.seat import Seat

_MADE_MS: Final = 2
"""Which part of a spool file's name says when it was made."""


def dead_workers_counts_forgotten() -> None:
    """Count from what those have counted who are still there."""
    _retire_with(lambda _: Figures())


def left_events_forgotten() -> None:
    """Keep what a dead worker has counted, and forget what it had not done with."""
    _retire_with(lambda figures: Figures(figures.counts, (), figures.gauges))


def _retire_with(change: Callable[[Figures], Figures]) -> None:
    original = Segment.retire

    def retire(self: Segment, index: int, *, is_planned: bool = False) -> None:
        slot = self.slots[index]
        slot.publish(change(slot.figures))
        original(self, index, is_planned=is_planned)

    replace(Segment, "retire", retire)


def replaced_worker_hangs_up() -> None:
    """Close the connections of a worker that is replaced, whoever waits for an answer there."""

    async def pass_on(self: App) -> None:
        await self._parts.listener.pass_on()
        await self._parts.listener.close()

    replace(App, "_pass_on", pass_on)


def door_closed_for_all() -> None:
    """Have a worker that is replaced keep out who comes, as at the server's end."""
    original = App._pass_on

    async def pass_on(self: App) -> None:
        await self._parts.listener.stop_listening()
        await original(self)

    replace(App, "_pass_on", pass_on)


def successor_comes_late() -> None:
    """Start a successor long after its predecessor has had the time to go."""
    original = Seat.replace

    async def replace_(self: Seat, config: Config) -> None:
        async with self._changing:
            if self.child is not None:
                self.child.tell("retire")
                await asyncio.sleep(2 * RETIRE_S)  # who waits longer than 12 s gives up
        await original(self, config)

    replace(Seat, "replace", replace_)


def orphans_serve_on() -> None:
    """Have a worker go on when its supervisor is gone."""
    original = Heeding.run

    async def run(self: Heeding, does: Actions, on_gone: Callable[[], None]) -> None:
        reader, self._reader = self._reader, asyncio.StreamReader()
        passing = asyncio.create_task(_pass(reader, self._reader))
        await original(self, does, on_gone)
        passing.cancel()

    replace(Heeding, "run", run)


async def _pass(reader: asyncio.StreamReader, told: asyncio.StreamReader) -> None:
    """Pass on what is said, and nothing of the end."""
    while line := await reader.readline():
        told.feed_data(line)


def dead_workers_spool_waits() -> None:
    """Leave the files of this server's own workers to the next one."""
    original = Orphans.look
    started_ms = psutil.Process(os.getppid()).create_time() * 1_000

    def look(self: Orphans, owned: Container[str], is_ours: Callable[[str], bool]) -> None:
        original(self, owned, lambda name: is_ours(name) and _made_ms(name) < started_ms)

    replace(Orphans, "look", look)


def _made_ms(name: str) -> int:
    return int(name.split("-")[_MADE_MS])
