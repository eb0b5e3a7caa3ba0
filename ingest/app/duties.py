"""The duties of a server: what is done once, by whichever of its processes has the turn for it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from ingest.share.turn import Turn

log = structlog.get_logger(__name__)

Duty = Callable[[], Coroutine[Any, Any, None]]
"""Begins work that must not end."""


class Duties:
    """Has them from some moment on, and keeps them until this process ends.

    Then, however it ends, another process has them within a second or so.
    """

    def __init__(self, turn: Turn, works: Mapping[str, Duty]) -> None:
        self._turn = turn
        self._works = works
        self.are_ours = False
        """Whether it is this process that does them."""

    async def run(self) -> None:
        """Wait for the turn, then do all of them, until cancelled; one that fails ends this."""
        async with self._turn.held():
            self.are_ours = True
            if self._turn.is_shared:
                log.info(
                    "this worker does from now on what is done once for all", what=[*self._works]
                )
            async with asyncio.TaskGroup() as group:
                for name, work in self._works.items():
                    group.create_task(work(), name=name)
