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

from bench.audit.history import EARLY, LOST
from bench.simulate import damage, invariants
from bench.simulate.clients import Clients
from bench.simulate.cluster import Cluster
from bench.simulate.disk import Disk
from bench.simulate.faults import FAULTS, Target
from bench.simulate.loop import Spinning
from bench.simulate.network import Network
from bench.simulate.plan import KILL, RESTART, SPOIL, Action, Plan
from bench.simulate.recorder import MemoryRecorder
from bench.simulate.server import Server
from bench.simulate.thread import patches
from bench.simulate.virtual import replaced, virtual
from bench.simulate.watch import Watch
from bench.simulate.world import World

_DOWN_S: Final = (0.05, 2.0)
"""So long a server is down before it is started again."""
_DRAIN_S: Final = 60.0
"""So long everything may take to come to rest, as the audit has it."""
_FRESH_S: Final = 2.0
_STOP_S: Final = 40.0
_SETTLE_S: Final = 3.0
_GRACE_S: Final = 30.0
_KILL_STEPS_MAX: Final = 60
_LOOK_S: Final = 0.02
_LOOKS_MAX: Final = 60
_KILL_OPS_MAX: Final = 3
_STEPS: Final = 8
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
        self._disk = disk
        self._disk.loses_power = settings.loses_power
        self._disk.on_death = self._note_death
        self._target = Target(self._cluster, self._network, self._disk)
        self._recorder = MemoryRecorder()
        self._watch = Watch(world, self._recorder, settings)
        self._clients = Clients(world, self._recorder, self._watch, self._listening)
        self._server: Server | None = None
        self._dead: list[object] = []
        self._spoils: Random | None = None
        """Whether the disk of a server that is dead is to be spoilt, and how."""
        self._is_over = False
        self._findings: list[Finding] = []

    def run(self) -> Outcome:
        """Go through the plan, let everything come to rest, and judge."""
        try:
            self._start()
            self._go_through()
        except Spinning:
            self._find("stays-up", "the event loop turns for nothing")
        finally:
            self._end()
        return self._judged()

    def _go_through(self) -> None:
        for action in self._plan.actions:
            self._world.at(
                self._world.now_s - self._world.elapsed_s + action.at_s, self._act, action
            )
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

    def _act(self, action: Action) -> None:
        self._world.note(f"plan: {action}")
        if action.kind == KILL:
            self._kill_soon(Random(action.seed))  # noqa: S311 - repeatable, not secret
        elif action.kind == SPOIL:
            self._kill_and_spoil(Random(action.seed), _LOOKS_MAX)  # noqa: S311 - not secret
        elif action.kind == RESTART:
            self._tell_to_stop()
        elif action.kind in FAULTS:
            self._begin_fault(action)
        else:
            self._clients.act(action)

    def _begin_fault(self, action: Action) -> None:
        fault, random = FAULTS[action.kind], Random(action.seed)  # noqa: S311 - not secret
        fault.begin(self._target, random, action.lasts_s)
        self._watch.note(fault, action.lasts_s)
        self._world.after(action.lasts_s, fault.lift, self._target, random)

    def _lift_all(self) -> None:
        self._world.note("plan: everything is mended")
        for fault in FAULTS.values():
            fault.lift(self._target, self._world.random)
        self._disk.dies_in = None
        if self._server is not None:
            self._server.loop.steps_left = None

    # Lives.

    def _listening(self) -> Server | None:
        server = self._server
        return server if server is not None and server.is_ready else None

    def _start(self) -> None:
        if self._server is not None or self._is_over:
            return
        self._world.note("server: starts")
        self._watch.is_stopping = False
        server = Server(self._world, self._network, self._disk, self._plan.settings)
        self._server = server
        self._watch.server = server
        server.loop.on_step = self._die

    def _kill_soon(self, random: Random) -> None:
        """Kill the server some callbacks from now, or within one of its next writes to disk."""
        if self._server is None:
            return
        if random.random() < 0.4:  # noqa: PLR2004
            self._disk.dies_in = random.randrange(_KILL_OPS_MAX)
        else:
            self._server.loop.steps_left = random.randrange(_KILL_STEPS_MAX)

    def _kill_and_spoil(self, random: Random, looks: int) -> None:
        """Kill a server that has spooled something, and spoil that; in the same boot only.

        A machine that has lost its power as well can't know what the disk should have kept.
        """
        server = self._server
        if server is None or server.spool is None or self._disk.loses_power or not looks:
            return
        if server.spool.is_empty:
            self._world.after(_LOOK_S, self._kill_and_spoil, random, looks - 1)
        else:
            self._spoils = random
            self._die()

    def _spoil(self, random: Random) -> None:
        tokens = damage.spoil(self._disk.directory, random)
        self._world.note(f"disk: {len(tokens)} events are in a file that is spoilt")
        for token in tokens:
            self._recorder.damaged(token)

    def _die(self) -> None:
        if self._server is not None:
            self._disk.kill(with_power=self._plan.settings.loses_power)

    def _note_death(self) -> None:
        """See the process end at once, whatever it was doing."""
        server = self._server
        if server is None:
            return
        self._world.note("server: killed")
        self._recorder.excuse(frozenset({LOST, EARLY}), self._world.now_s, self._world.now_s)
        server.kill()

    def _bury(self) -> None:
        """Clear away a server that is dead or has ended, and have another one started."""
        server = self._server
        if server is None:
            return
        if server.loop.is_dead:
            self._dead += server.abandon()
            self._disk.revive()
            if self._spoils is not None:
                self._spoil(self._spoils)
                self._spoils = None
        elif server.failure and not server.failure.startswith("it does not start"):
            self._find("stays-up", server.failure)
        else:
            self._dead.append(server)
        for transport in [*self._network.transports]:
            transport.cut(by_reset=True)
        self._recorder.excuse(frozenset({LOST}), self._world.now_s, self._world.now_s)
        self._clients.lose()
        server.kill()
        server.loop.leave()
        self._server = self._watch.server = None
        self._world.after(self._world.random.uniform(*_DOWN_S), self._start)

    def _tell_to_stop(self) -> None:
        if self._listening() is not None and self._server is not None:
            self._world.note("server: told to stop")
            self._watch.is_stopping = True
            self._server.stop()

    def _restart_in_good_order(self) -> bool:
        before = self._server
        self._tell_to_stop()
        if self._go_on(
            lambda: self._server is not before and self._listening() is not None, _STOP_S
        ):
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
        """Do what is next: a round of the process, or what happens to it."""
        world, server = self._world, self._server
        next_s = world.next_s
        if server is not None:
            loop = server.loop
            if loop.is_dead or server.has_ended:
                self._bury()
                return
            loop_s = loop.next_s
            if loop_s is not None and loop_s <= world.now_s:
                world.happen()
                if not loop.is_dead:
                    loop.turn()
                return
            if loop_s is not None and (next_s is None or loop_s < next_s):
                next_s = loop_s
            loop.rest()
        world.now_s = max(world.now_s, end_s + 1.0 if next_s is None else next_s)
        world.happen()

    # The reckoning.

    def _is_at_rest(self) -> bool:
        server = self._listening()
        is_quiet = not self._clients.open and not self._clients.outside
        return is_quiet and server is not None and server.is_settled and server.health.is_up

    def _say_what_is_left(self) -> None:
        server, clients = self._listening(), self._clients
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
        server = self._listening()
        if server is not None and (wrong := server.unbalanced()):
            self._find("books-balance", wrong)

    def _expect_fresh(self) -> bool:
        self._clients.send_fresh()
        self._go_on(lambda: not self._clients.open and bool(self._clients.last_status), _FRESH_S)
        if self._clients.last_status == 200:  # noqa: PLR2004
            return True
        self._find("fresh-event", f"it got {self._clients.last_status} within {_FRESH_S} s")
        return False

    def _end(self) -> None:
        self._is_over = True
        if self._server is not None:
            self._server.kill()
            self._server.loop.leave()
            self._dead += self._server.abandon()

    def _judged(self) -> Outcome:
        history = self._recorder.history()
        found = invariants.judge(
            history, self._recorder.excuses, self._cluster, told=self._world.told_events
        )
        self._findings += [Finding(*each) for each in (*found, *self._watch.findings)]
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
