"""Background tasks, and their one owner: none of them may end before the server does."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

END_TIMEOUT_S: Final = 5.0
"""So long a cancelled task may take to end."""


class Background:
    """Runs tasks until they are cancelled; if one ends before that, it says so."""

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._tasks: list[asyncio.Task[None]] = []

    def own(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a task that must not end."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_ended)
        self._tasks.append(task)

    async def end(self) -> None:
        """Cancel all of them, and wait until they have ended, though for none of them for ever."""
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            return
        _, stuck = await asyncio.wait(self._tasks, timeout=END_TIMEOUT_S)
        if stuck:
            names = sorted(task.get_name() for task in stuck)
            log.error("background tasks do not end; stopping without them", tasks=names)

    def _on_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        log.critical(
            "a background task ended; stopping", task=task.get_name(), exc_info=task.exception()
        )
        self._on_failure()
