"""`nonito insights`: the process that keeps the archive and answers questions.

Started by `nonito serve` and told by it. Events come first: it runs when nobody else wants the
processor or the disk, and is the first to go where memory is short.
"""

import ctypes
import os
import platform
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from ingest.app.database import make_postgres
from ingest.app.insights import Insights
from ingest.cli.channel import Heeding, attend, receive
from ingest.observe import logs
from ingest.share.member import Member
from ingest.share.segment import Segment
from ingest.supervisor.order import Begun, InsightsOrder

_NICENESS: Final = 10
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
"""Numbers of the system call, which glibc has no function for."""
_WHO_PROCESS, _LEAST_EFFORT = 1, (2 << 13) | 7  # best effort, the last in the row: never starved
_FIRST_TO_GO: Final = "500"  # of 1,000; workers have 0


def run() -> None:
    """Keep the archive and answer questions for `nonito serve`. Raises StartupError."""
    channel, order = receive(InsightsOrder)
    stand_back()
    log = order.config.log
    logs.configure(log.level, log.format)
    # No thread is waited for: what it was doing is asked or done again.
    os._exit(0 if uvloop.run(attend(channel, partial(_run, order=order))) else 1)


def stand_back() -> None:
    """Let others go first; what a sandbox forbids of it is left."""
    with suppress(OSError):
        os.nice(_NICENESS)
    if (number := _IOPRIO_SET.get(platform.machine())) and sys.platform.startswith("linux"):
        ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, _LEAST_EFFORT)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


async def _run(heeding: Heeding, order: InsightsOrder) -> bool:
    postgres = make_postgres(order.config, order.database_url, order.segment)
    member = Member(Segment.attach(order.segment), order.slot)
    process = Insights(order.config, order.database_url, postgres, member, order.port)
    # Without its supervisor it ends at once: what it was doing is done again by the next one.
    with heeding.doing({"stop": process.stop, "retire": process.stop}, lambda: os._exit(1)):
        listener = None if order.listener is None else socket.socket(fileno=order.listener)
        return await process.run(listener, lambda: heeding.begin(Begun()))
