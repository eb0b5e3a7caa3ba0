"""The process's clocks and random bytes, taken from the world for as long as a seed runs."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, Final

from bench.simulate.loop import running
from bench.simulate.world import World

_PACKAGES: Final = ("ingest.delivery", "ingest.spool", "ingest.store", "ingest.http", "ingest.app")

Patch = tuple[Any, str, object]
"""A module or a class, a name in it, and what is there meanwhile."""


class _Log:
    """What the product's modules log to: only errors of its own are kept."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _drop(self, *_: object, **__: object) -> None:
        """Leave out what is told of the world."""

    debug = info = warning = _drop

    def error(self, _: str, *, kept_as: str = "", events: int = 0, **__: object) -> None:
        """Count what is said to be lost and kept for a person."""
        if kept_as:
            self._world.told_events += events

    def exception(self, text: str, **_: object) -> None:
        """Keep what nobody expected."""
        error = sys.exc_info()[1]
        if not isinstance(error, RuntimeError) or "closed transport" not in str(error):
            self._world.errors.append(f"{text}: {error!r}")

    def critical(self, text: str, **fields: object) -> None:
        """Keep what must not be."""
        self._world.errors.append(f"{text} {fields}")


@contextmanager
def virtual(world: World) -> Iterator[None]:
    """Have all code of this process see the world's time and its random bytes."""
    state = random.getstate()
    random.seed(world.entropy.getrandbits(64))
    with replaced(*_clocks(world), *_entropy(world), *_logs(world), *_loops()):
        try:
            yield
        finally:
            random.setstate(state)


@contextmanager
def replaced(*patches: Patch) -> Iterator[None]:
    """Put something else in the place of what modules and classes have."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def _clocks(world: World) -> Iterator[Patch]:
    yield time, "monotonic", lambda: world.now_s + world.busy_s
    yield time, "monotonic_ns", lambda: int((world.now_s + world.busy_s) * 1e9)
    yield time, "time", lambda: world.wall_s
    yield time, "time_ns", lambda: int(world.wall_s * 1e6) * 1_000


def _entropy(world: World) -> Iterator[Patch]:
    draw: Callable[[int], bytes] = world.entropy.randbytes
    yield os, "urandom", draw
    yield random, "_urandom", draw  # of `secrets`


def _loops() -> Iterator[Patch]:
    for module in (asyncio, asyncio.events):
        yield module, "get_running_loop", running.get


def _logs(world: World) -> Iterator[Patch]:
    log = _Log(world)
    for module in _modules():
        yield module, "log", log


@cache
def _modules() -> list[ModuleType]:
    found = (module for name, module in sorted(sys.modules.items()) if name.startswith(_PACKAGES))
    return [module for module in found if "log" in vars(module)]
