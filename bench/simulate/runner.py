"""Many seeds, in several processes: what was found, and how fast it went."""

import gc
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from bench.simulate import bugs, plan, shrink, simulation
from bench.simulate.plan import Plan
from bench.simulate.simulation import Outcome

FINDINGS_MAX: Final = 5
"""Behind so many seeds that failed no further ones are tried."""
_CHUNK: Final = 10
_AHEAD: Final = 4


class Failure(NamedTuple):
    """A seed that broke a promise."""

    seed: int
    invariant: str
    text: str
    plan: Plan
    """The shortest that still breaks it."""
    actions: int
    """How many the seed's own has."""


class Chunk(NamedTuple):
    """What came of some seeds."""

    seeds: int
    simulated_s: float
    cpu_s: float
    events: int
    acked: int
    actions: dict[str, int]
    failures: list[Failure]


@dataclass
class Found:
    """What came of all of them."""

    first: int
    bug: str
    seeds: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    events: int = 0
    acked: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, chunk: Chunk) -> None:
        """Add what came of some more."""
        self.seeds += chunk.seeds
        self.simulated_s += chunk.simulated_s
        self.cpu_s += chunk.cpu_s
        self.events += chunk.events
        self.acked += chunk.acked
        self.actions.update(chunk.actions)
        self.failures += chunk.failures


def run_many(
    first: int,
    seeds: int,
    *,
    processes: int,
    bug: str = "",
    seconds: float = 0.0,
    on_progress: Callable[[Found], None],
) -> Found:
    """Run seeds from `first` on; fewer when enough have failed, or `seconds` are over."""
    found, begin_s = Found(first, bug), time.monotonic()
    findings_max = 1 if bug else FINDINGS_MAX
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _prepare, (bug,)) as pool:
        chunks, pending = _chunks(first, seeds), set[Future[Chunk]]()
        while _submit(pool, chunks, pending, processes * _AHEAD):
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for each in done:
                found.add(each.result())
            found.wall_s = time.monotonic() - begin_s
            on_progress(found)
            is_late = bool(seconds) and found.wall_s >= seconds
            if is_late or len(found.failures) >= findings_max:
                chunks = iter(())
                pending = {each for each in pending if not each.cancel()}
    return found


def _submit(
    pool: ProcessPoolExecutor,
    chunks: Iterator[tuple[int, int]],
    pending: set[Future[Chunk]],
    pending_max: int,
) -> bool:
    """Have more seeds run, unless there is enough to do; return whether there is anything."""
    for more in islice(chunks, pending_max - len(pending)):
        pending.add(pool.submit(run_chunk, *more))
    return bool(pending)


def run_chunk(first: int, seeds: int) -> Chunk:
    """Run some seeds in this process; shrink what fails."""
    begin_s, simulated_s, events, acked = time.process_time(), 0.0, 0, 0
    actions: Counter[str] = Counter()
    failures: list[Failure] = []
    for seed in range(first, first + seeds):
        drawn = plan.draw(seed)
        outcome = simulation.run(drawn)
        simulated_s += outcome.simulated_s
        events, acked = events + outcome.sent, acked + outcome.acked
        actions.update(each.kind for each in drawn.actions)
        if outcome.findings:
            failures.append(_shrunk(drawn, outcome))
            break
    simulation.forget_past()
    cpu_s = time.process_time() - begin_s
    done = seed - first + 1
    return Chunk(done, simulated_s, cpu_s, events, acked, dict(actions), failures)


def first_broken(first: int, seeds: int) -> tuple[int, str]:
    """Return the first of some seeds that breaks a promise, and which; -1 if none does."""
    for seed in range(first, first + seeds):
        if findings := simulation.run(plan.draw(seed)).findings:
            return seed, findings[0].invariant
    return -1, ""


def find(first: int, seeds: int) -> Failure | None:
    """Return the first failure among some seeds, in this process; None if there is none."""
    for begin, count in _chunks(first, seeds):
        if failures := run_chunk(begin, count).failures:
            return failures[0]
    return None


def _shrunk(drawn: Plan, outcome: Outcome) -> Failure:
    """Return the failure with the shortest plan that breaks the same promise."""
    invariant, text = outcome.findings[0]

    def fails(tried: Plan) -> bool:
        return any(each.invariant == invariant for each in simulation.run(tried).findings)

    return Failure(drawn.seed, invariant, text, shrink.shrink(drawn, fails), len(drawn.actions))


def _chunks(first: int, seeds: int) -> Iterator[tuple[int, int]]:
    for begin in range(first, first + seeds, _CHUNK):
        yield begin, min(_CHUNK, first + seeds - begin)


def _prepare(bug: str) -> None:
    """Get a process ready: what is loaded now is not looked through again and again."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    bugs.plant(bug)
    gc.collect()
    gc.freeze()


def _end_with_parent() -> None:
    """End when the command does, however it ends: else nobody would tell this process to."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
