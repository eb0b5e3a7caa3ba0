"""One simulated run: lives of the server one after the other, faults, and the reckoning."""

import gc
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from bench.simulate import invariants
from bench.simulate.clients import Clients
from bench.simulate.cluster import Cluster
from bench.simulate.disk import Disk
from bench.simulate.faults import FAULTS, Fault, Target
from bench.simulate.lives import Lives
from bench.simulate.loop import Spinning
from bench.simulate.network import Network
from bench.simulate.plan import KILL, RESTART, SPOIL, Action, Plan, quiet_times
from bench.simulate.recorder import MemoryRecorder
from bench.simulate.thread import patches
from bench.simulate.virtual import replaced, virtual
from bench.simulate.watch import Watch
from bench.simulate.world import BEGIN_S, World

_DRAIN_S: Final = 60.0
"""So long everything may take to come to rest, as the audit has it."""
_FRESH_S: Final = 2.0
_STOP_S: Final = 40.0
_SETTLE_S: Final = 3.0
_GRACE_S: Final = 30.0
_LOOK_S: Final = 1.0
_STEPS: Final = 4
_STEPS_MAX: Final = 400_000


_PAST_MAX: Final = 16
_past: list[object] = []
"""Runs that are over. What their dead processes had begun ends when they go: all at once, and while
nothing runs that it could meddle with."""


class Finding(NamedTuple):
    """A promise that was broken."""

    invariant: str
    text: str


class Outcome(NamedTuple):
    """What came of a run."""

    findings: tuple[Finding, ...]
    simulated_s: float
    digest: str
    """Stands for everything that happened."""
    trace: list[str]
    sent: int
    acked: int


def run(plan: Plan) -> Outcome:
    """Run a plan to its end."""
    directory = Path(tempfile.mkdtemp(prefix="nonito-simulate-", dir=_memory()))
    world = World(plan.seed)
    disk = Disk(world, directory / "spool", plan.settings.disk_factor)
    try:
        with _quietly(), virtual(world), replaced(*patches(disk)):
            simulation = _Simulation(world, plan, disk)
            _past.append(simulation)
            outcome = simulation.run()
            if len(_past) >= _PAST_MAX:
                forget_past()
            return outcome
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def forget_past() -> None:
    """Let go of runs that are over, with all that they had begun."""
    with _quietly(), virtual(World(0)):
        _past.clear()
        gc.collect()


class _Simulation:
    """The run of one plan."""

    def __init__(self, world: World, plan: Plan, disk: Disk) -> None:
        settings = plan.settings
        self._world = world
        self._plan = plan
        self._cluster = Cluster(
            world,
            commit_timeout_s=settings.commit_timeout_s,
            is_pooled=settings.is_pooled,
            factor=settings.postgres_factor,
        )
        self._network = Network(self._cluster)
        disk.loses_power = settings.loses_power
        self._target = Target(self._cluster, self._network, disk)
        self._recorder = MemoryRecorder()
        self._watch = Watch(world, self._recorder, settings)
        self._lives = Lives(world, self._network, disk, self._recorder, self._watch, settings)
        self._clients = Clients(world, self._recorder, self._watch, lambda: self._lives.listening)
        self._lives.on_lost = self._clients.lose
        self._findings: list[Finding] = []

    def run(self) -> Outcome:
        """Go through the plan, let everything come to rest, and judge."""
        try:
            self._lives.start()
            self._go_through()
        except Spinning:
            self._find("stays-up", "the event loop turns for nothing")
        finally:
            self._lives.end()
        return self._judged()

    def _go_through(self) -> None:
        for action in self._plan.actions:
            self._world.at(BEGIN_S + action.at_s, self._act, action)
        for begin_s, end_s in quiet_times(self._plan.actions):
            self._world.at(BEGIN_S + begin_s, self._sleep, BEGIN_S + end_s)
        last_s = max((each.at_s + each.lasts_s for each in self._plan.actions), default=0.0)
        self._go_on(lambda: self._world.elapsed_s > last_s, last_s + 1.0)
        self._lift_all()
        if not self._go_on(self._is_at_rest, _DRAIN_S):
            self._say_what_is_left()
            return
        self._look_at_books()
        is_new = self._expect_fresh() and self._restart_in_good_order()
        if is_new and not self._go_on(self._is_at_rest, _DRAIN_S):
            self._say_what_is_left()
        invariants.retry_rejected(self._cluster, self._recorder)

    def _sleep(self, until_s: float) -> None:
        """Have the machine sleep, with all that is on it, as soon as nothing is left to do."""
        world = self._world
        if until_s <= world.now_s + _LOOK_S:
            return
        if self._is_at_rest():
            world.note("machine: sleeps")
            world.now_s = until_s
        else:
            world.after(_LOOK_S, self._sleep, until_s)

    def _act(self, action: Action) -> None:
        self._world.note(f"plan: {action}")
        self._world.stir()
        if action.kind == KILL:
            self._lives.kill_soon(Random(action.seed))  # noqa: S311 - repeatable, not secret
        elif action.kind == SPOIL:
            self._lives.kill_and_spoil(Random(action.seed))  # noqa: S311 - not secret
        elif action.kind == RESTART:
            self._lives.tell_to_stop()
        elif action.kind in FAULTS:
            self._begin_fault(action)
        else:
            self._clients.act(action)

    def _begin_fault(self, action: Action) -> None:
        fault, random = FAULTS[action.kind], Random(action.seed)  # noqa: S311 - not secret
        fault.begin(self._target, random, action.lasts_s)
        self._watch.note(fault, action.lasts_s)
        self._world.after(action.lasts_s, self._lift, fault, random)

    def _lift(self, fault: Fault, random: Random) -> None:
        self._world.stir()
        fault.lift(self._target, random)

    def _lift_all(self) -> None:
        self._world.note("plan: everything is mended")
        for fault in FAULTS.values():
            self._lift(fault, self._world.random)
        self._lives.kill_no_more()

    def _restart_in_good_order(self) -> bool:
        lives, before = self._lives, self._lives.server
        lives.tell_to_stop()
        if self._go_on(lambda: lives.server is not before and lives.listening is not None, _STOP_S):
            return True
        self._find("stays-up", "it does not end when it is told to, or does not come again")
        return False

    # Time.

    def _go_on(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        """Have the world go on until something is so; return whether that was in time."""
        world, end_s = self._world, self._world.now_s + timeout_s
        for _ in range(_STEPS_MAX):
            if is_done():
                return True
            if world.now_s > end_s:
                return False
            for _ in range(_STEPS):
                self._step(end_s)
        self._find("stays-up", "it goes on and on")
        return False

    def _step(self, end_s: float) -> None:
        """Have the process do what it has to do, and time go on to what is next."""
        world, server, wakes_s = self._world, self._lives.server, None
        if server is not None:
            loop = server.loop
            loop.go_on()
            if loop.is_dead or server.has_ended:
                self._lives.bury()
                return
            wakes_s = loop.wakes_s
        next_s = world.next_s
        if next_s is None or (wakes_s is not None and wakes_s < next_s):
            next_s = wakes_s
        world.now_s = max(world.now_s, end_s + 1.0 if next_s is None else next_s)
        world.happen()

    # The reckoning.

    def _is_at_rest(self) -> bool:
        server = self._lives.listening
        is_quiet = not self._clients.open and not self._clients.outside
        return is_quiet and server is not None and server.is_settled and server.health.is_up

    def _say_what_is_left(self) -> None:
        server, clients = self._lives.listening, self._clients
        if clients.open or clients.outside:
            text = f"{len(clients.open)} requests wait, {clients.outside} can't be sent"
            self._find("always-answered", text)
        if server is None:
            self._find("stays-up", "no server listens")
        elif not server.health.is_up:
            self._find("fresh-event", f"Postgres is {server.health.state}: {server.health.reason}")
        elif not server.is_settled:
            events = server.spool.events if server.spool else 0
            text = f"{events} in the spool, {server.queues.unsettled_events} in queues"
            self._find("spool-drains", text)

    def _look_at_books(self) -> None:
        self._go_on(lambda: False, _SETTLE_S)  # until what nobody waits for is over as well
        server = self._lives.listening
        if server is not None and (wrong := server.unbalanced()):
            self._find("books-balance", wrong)

    def _expect_fresh(self) -> bool:
        """Send an event; while the process gets no CPU it can't be held to any time."""
        self._world.is_steady = True
        self._clients.send_fresh()
        self._go_on(lambda: not self._clients.open and bool(self._clients.last_status), _FRESH_S)
        if self._clients.last_status == 200:  # noqa: PLR2004
            return True
        self._find("fresh-event", f"it got {self._clients.last_status} within {_FRESH_S} s")
        return False

    def _judged(self) -> Outcome:
        history = self._recorder.history()
        found = invariants.judge(
            history, self._recorder.excuses, self._cluster, told=self._world.told_events
        )
        self._findings += [Finding(*each) for each in found]
        self._findings += [Finding("stays-up", text) for text in self._lives.failures]
        self._findings += [Finding("no-error", text) for text in self._world.errors[:3]]
        acked = sum(record.is_acked for record in history.records.values())
        return Outcome(
            tuple(self._findings), self._world.elapsed_s, self._world.digest(), self._world.trace,
            len(history.records), acked,
        )  # fmt: skip

    def _find(self, invariant: str, text: str) -> None:
        self._world.note(f"FOUND {invariant}: {text}")
        self._findings.append(Finding(invariant, text))


@contextmanager
def _quietly() -> Iterator[None]:
    """Have coroutines of dead processes say nothing when they go, and go between two runs only."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            yield
    finally:
        if was_enabled:
            gc.enable()
        sys.unraisablehook = hook


def _memory() -> str | None:
    """Return where files are in memory; None for wherever temporary files are."""
    with suppress(OSError):
        if Path("/dev/shm").is_dir():  # noqa: S108 - a directory of its own is made there
            return "/dev/shm"  # noqa: S108
    return None
