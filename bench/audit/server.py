"""The server as the audit starts it: `nonito`, with failpoints and, in a test, one seeded bug.

`python -m bench.audit.server serve --port N`. The variables that this launcher reads are taken out
of the environment, since the server refuses what it does not know.
"""

import os
import signal
from pathlib import Path

from bench.audit import failpoints
from bench.audit.failpoints import BUG_VARIABLE, FILE_VARIABLE, Failpoints
from ingest.cli import main


def launch() -> None:
    """Patch what is asked for, and run the command."""
    path, bug = os.environ.pop(FILE_VARIABLE, ""), os.environ.pop(BUG_VARIABLE, "")
    points = Failpoints(Path(path) if path else None)
    signal.signal(signal.SIGUSR1, points.reload)
    points.reload()
    if bug:
        from bench.audit import bugs  # noqa: PLC0415 - an honest server does not load them

        bugs.BUGS[bug].plant()
    failpoints.install(points)
    main()


if __name__ == "__main__":
    launch()
