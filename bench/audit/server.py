"""The server as the audit starts it: `nonito`, with failpoints and, in a test, one seeded bug.

`python -m bench.audit.server serve --port N`. Its workers are this launcher as well, and so is its
insights process: they have the failpoints, and each process of the server has the seeded bug. Which
ones, the environment says, which they inherit; its names don't begin with the server's prefix,
which refuses what it does not know.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Final

from bench.audit import failpoints
from bench.audit.failpoints import BUG_VARIABLE, FILE_VARIABLE, Failpoints
from bench.audit.patch import replace
from ingest.cli import main
from ingest.supervisor import child, seat

_WORKER: Final = "worker"
_INSIGHTS: Final = "insights"
_SEAT_EMPTY_S_MAX: Final = 1.0
"""An audit ends workers every few seconds, which is no loop: a client's patience is bounded."""


def launch() -> None:
    """Patch what is asked for, and run the command."""
    role = sys.argv[1:2]
    if role == [_INSIGHTS]:
        from bench.audit import haste  # noqa: PLC0415 - a server without the extra has none

        haste.hurry()
    if role in ([_WORKER], [_INSIGHTS]):
        _set_failpoints(os.environ.get(FILE_VARIABLE, ""), of_archive=role == [_INSIGHTS])
    else:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # so for a worker, until it has its own
        replace(child, "COMMAND", ("-m", "bench.audit.server"))
        replace(seat, "_BACKOFF_MAX_S", _SEAT_EMPTY_S_MAX)
    if bug := os.environ.get(BUG_VARIABLE, ""):
        from bench.audit import bugs  # noqa: PLC0415 - an honest server does not load them

        bugs.BUGS[bug].plant()
    main()


def _set_failpoints(path: str, *, of_archive: bool) -> None:
    points = Failpoints(Path(path) if path else None)
    signal.signal(signal.SIGUSR1, points.reload)
    points.reload()
    failpoints.install(points, of_archive=of_archive)


if __name__ == "__main__":
    launch()
