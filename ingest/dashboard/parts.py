"""The parts of a page that grows: begun together, and each fails alone."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from ingest.dashboard.problems import Problem
from ingest.dashboard.replies import Part
from ingest.dashboard.routes import Visit
from ingest.dashboard.troubles import problem_of

Making = Callable[[], Coroutine[Any, Any, Part]]
"""Makes a part; nothing of it is begun before the first part is waited for."""


async def in_order(visit: Visit, *makings: Making) -> AsyncGenerator[Part, None]:
    """Yield each part as soon as those before it are there; one that fails is what went wrong."""
    tasks = [asyncio.create_task(making()) for making in makings]
    try:
        for task in tasks:
            yield await _part(visit, task)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def as_they_come(*makings: Making) -> AsyncGenerator[Part, None]:
    """Yield each part as soon as it is there; none of them raises."""
    tasks = [asyncio.create_task(making()) for making in makings]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _part(visit: Visit, task: asyncio.Task[Part]) -> Part:
    try:
        return await task
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - it is said, and logged
        return trouble(problem_of(visit, error))


def trouble(problem: Problem) -> Part:
    """Return what is shown in the place of a part that can't be."""
    return Part("trouble.html", {"problem": problem})
