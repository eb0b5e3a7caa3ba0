"""The throttle: each worker gets the same share of a core, so that two cores can show eight."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.errors import BenchError
from bench.scale import duty, groups
from bench.scale.share import Share

AUTO: Final = "auto"
GROUPS: Final = "cgroup"
SIGNALS: Final = "signals"
CHOICES: Final = (AUTO, GROUPS, SIGNALS)


class Throttle:
    """One way of giving processes a share of a core."""

    def __init__(self, place: groups.Place | None) -> None:
        """Use control groups there, or without them signals."""
        self._place = place
        self.name = duty.NAME if place is None else place.name

    @contextmanager
    def held(self, pids: Sequence[int], share: Share) -> Iterator[None]:
        """Give each process so much of a core; raise BenchError."""
        with ExitStack() as stack:
            try:
                if self._place is None:
                    stack.enter_context(duty.held(pids, share))
                else:
                    stack.enter_context(groups.held(self._place, pids, share))
            except OSError as error:
                raise BenchError(f"a worker can't be throttled: {error}") from error
            yield


def choose(asked: str) -> Throttle:
    """Return the one that is asked for; raise BenchError if this machine does not have it."""
    place = None if asked == SIGNALS else groups.find()
    if asked == GROUPS and place is None:
        raise BenchError("--throttle cgroup: the CPU controller can't be set here; be root")
    return Throttle(place)
