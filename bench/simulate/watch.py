"""The watch: which refusals are right at the moment, by what is wrong just then."""

import math
from typing import TYPE_CHECKING, Final

from bench.audit.excuses import SET_ASIDE
from bench.audit.history import EARLY
from bench.audit.workload import POISON
from ingest.delivery.backlog import NEARLY_FULL
from ingest.errors import Code

if TYPE_CHECKING:
    from bench.simulate.faults import Fault
    from bench.simulate.plan import Settings
    from bench.simulate.recorder import MemoryRecorder
    from bench.simulate.server import Server
    from bench.simulate.world import World

_OVERLOADED: Final = frozenset({str(Code.OVERLOADED), EARLY})
_UNCONFIRMED: Final = frozenset({str(Code.DATABASE_ERROR), str(Code.OVERLOADED), EARLY})
_STOPPING: Final = frozenset({str(Code.SHUTTING_DOWN), EARLY})
_QUEUED_S: Final = 60.0
"""A slow Postgres may have an event wait for so long: far longer than the audit's."""


class Watch:
    """Follows faults and the server."""

    def __init__(self, world: "World", recorder: "MemoryRecorder", settings: "Settings") -> None:
        self._world = world
        self._recorder = recorder
        self._settings = settings
        self.server: Server | None = None
        self.is_stopping = False

    def note(self, fault: "Fault", lasts_s: float) -> None:
        """Take note of a fault: what it excuses, up to when what it has brought about is over."""
        begin_s = self._world.now_s
        end_s = begin_s + lasts_s + self._settings.spool_timeout_s + self._settings.commit_timeout_s
        if fault.is_of_disk or not self._settings.has_spool:
            self._recorder.excuse(_UNCONFIRMED, begin_s, end_s)
        if fault.sets_aside:
            self._recorder.excuse(frozenset({SET_ASIDE, POISON}), begin_s, end_s)
        if fault.is_rule:
            self._recorder.excuse(frozenset({POISON}), begin_s, end_s)

    def look(self, events: int, since_s: float = math.inf) -> None:
        """Look whether events that are refused just now may be: what is full is.

        Or a spool that was since their request came: an answer waits for all of a batch.
        """
        if codes := self._codes(events, since_s):
            self._recorder.excuse(codes, self._world.now_s, self._world.now_s)

    def look_at_early(self) -> None:
        """Look whether an event may be refused that was acknowledged some time ago."""
        if codes := self._codes(1, math.inf):
            now_s = self._world.now_s
            self._recorder.excuse(codes & {EARLY}, now_s - _QUEUED_S, now_s)

    def _codes(self, events: int, since_s: float) -> frozenset[str]:
        server = self.server
        codes: frozenset[str] = frozenset()
        if server is None:
            return codes
        spool = server.spool
        if spool is not None and (not spool.has_room or spool.full_s >= since_s):
            codes = _UNCONFIRMED
        elif self._is_queue_full(server, events):
            codes = _OVERLOADED
        return codes | _STOPPING if self.is_stopping else codes

    def _is_queue_full(self, server: "Server", events: int) -> bool:
        settings, waiting = self._settings, server.queues.waiting.values()
        return any(
            each.events + events > settings.queue_events_max * NEARLY_FULL
            or each.bytes > settings.queue_bytes_max * NEARLY_FULL / 2
            for each in waiting
        )
