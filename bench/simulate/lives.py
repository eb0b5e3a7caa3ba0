"""The lives of the server in a run, one after the other, and how each ends."""

from random import Random
from typing import TYPE_CHECKING, Final

from bench.audit.history import EARLY, LOST
from bench.simulate import damage
from bench.simulate.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.simulate.disk import Disk
    from bench.simulate.network import Network
    from bench.simulate.plan import Settings
    from bench.simulate.recorder import MemoryRecorder
    from bench.simulate.watch import Watch
    from bench.simulate.world import World

_DOWN_S: Final = (0.05, 2.0)
"""So long a server is down before it is started again."""
_KILL_STEPS_MAX: Final = 60
_KILL_OPS_MAX: Final = 3
_IN_A_WRITE: Final = 0.4
"""The chance that it is killed within a write to the disk."""
_LOOK_S: Final = 0.02
_LOOKS_MAX: Final = 60


class Lives:
    """Starts a server again whenever one has ended."""

    def __init__(
        self,
        world: "World",
        network: "Network",
        disk: "Disk",
        recorder: "MemoryRecorder",
        watch: "Watch",
        settings: "Settings",
    ) -> None:
        self._world = world
        self._network = network
        self._disk = disk
        self._recorder = recorder
        self._watch = watch
        self._settings = settings
        self._dead: list[object] = []
        """What belonged to servers that have ended; kept while anything runs."""
        self._spoils: Random | None = None
        """Whether the disk of a server that is dead is to be spoilt, and how."""
        self._is_over = False
        self.server: Server | None = None
        self.on_lost: Callable[[], None] = lambda: None
        """Called when all connections of clients have ended."""
        self.failures: list[str] = []
        """Why servers ended though nobody had told them to."""
        disk.on_death = self._note_death

    @property
    def listening(self) -> Server | None:
        """The server, if it takes requests."""
        server = self.server
        return server if server is not None and server.is_ready else None

    def start(self) -> None:
        """Start a server unless there is one."""
        if self.server is not None or self._is_over:
            return
        self._world.note("server: starts")
        self._world.stir()
        self._watch.is_stopping = False
        server = Server(self._world, self._network, self._disk, self._settings)
        self.server = self._watch.server = server
        server.loop.on_step = self._die
        server.early_acks.on_refusal = self._watch.look_at_early

    def kill_soon(self, random: Random) -> None:
        """Kill the server some callbacks from now, or within one of its next writes to disk."""
        if self.server is None:
            return
        if random.random() < _IN_A_WRITE:
            self._disk.dies_in = random.randrange(_KILL_OPS_MAX)
        else:
            self.server.loop.steps_left = random.randrange(_KILL_STEPS_MAX)

    def kill_no_more(self) -> None:
        """Forget a kill that has not come about yet."""
        self._disk.dies_in = None
        if self.server is not None:
            self.server.loop.steps_left = None

    def kill_and_spoil(self, random: Random, looks: int = _LOOKS_MAX) -> None:
        """Kill a server that has spooled something, and spoil that; in the same boot only.

        A machine that has lost its power as well can't know what the disk should have kept.
        """
        server = self.server
        if server is None or server.spool is None or self._settings.loses_power or not looks:
            return
        if server.spool.is_empty:
            self._world.after(_LOOK_S, self.kill_and_spoil, random, looks - 1)
        else:
            self._spoils = random
            self._die()

    def tell_to_stop(self) -> None:
        """Have the server end in good order."""
        server = self.listening
        if server is not None:
            self._world.note("server: told to stop")
            self._watch.is_stopping = True
            server.stop()

    def bury(self) -> None:
        """Clear away a server that is dead or has ended, and have another one started."""
        server = self.server
        if server is None:
            return
        self._dead += server.abandon()
        if server.loop.is_dead:
            self._revive_disk()
        elif server.failure and not server.is_refusing:
            self.failures.append(server.failure)
        for transport in [*self._network.transports]:
            transport.cut(by_reset=True)
        self._recorder.excuse(frozenset({LOST}), self._world.now_s, self._world.now_s)
        self.on_lost()
        self._end(server)
        self._world.after(self._world.random.uniform(*_DOWN_S), self.start)

    def end(self) -> None:
        """End it all: nothing is started any more."""
        self._is_over = True
        if self.server is not None:
            self._dead += self.server.abandon()
            self._end(self.server)

    def _end(self, server: Server) -> None:
        server.kill()
        server.loop.leave()
        self.server = self._watch.server = None

    def _revive_disk(self) -> None:
        self._disk.revive()
        spoils, self._spoils = self._spoils, None
        if spoils is not None:
            tokens = damage.spoil(self._disk.directory, spoils)
            self._world.note(f"disk: {len(tokens)} events are in a file that is spoilt")
            for token in tokens:
                self._recorder.damaged(token)

    def _die(self) -> None:
        if self.server is not None:
            self._disk.kill(with_power=self._settings.loses_power)

    def _note_death(self) -> None:
        """See the process end at once, whatever it was doing."""
        if self.server is not None:
            self._world.note("server: killed")
            now_s = self._world.now_s
            self._recorder.excuse(frozenset({LOST, EARLY}), now_s, now_s)
            self.server.kill()
