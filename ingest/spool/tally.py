"""How many events a file of the spool holds, as its owner last knew: noted in the file's lock.

Whoever finds the file later learns from it what the disk should have kept. It costs a write of some
bytes a batch and no sync, so it outlives the process and not the machine: it counts within one
boot only. It is never more than the file holds, whenever the process ends: lowered before anything
is removed, raised after it was appended.
"""

import os
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_RECORD_BYTES_MAX: Final = 128


class Tally:
    """The note in an open lock file. Raises nothing: without it less is known, that is all."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> int | None:
        """Return how many events the file held; None if nothing is noted, or by another boot."""
        noted = self._read()
        return None if noted is None else noted[0]

    def read_start_id(self) -> int:
        """Return behind which batch they were; 0 if that is not known."""
        noted = self._read()
        return 0 if noted is None else noted[1]

    def _read(self) -> tuple[int, int] | None:
        try:
            noted = os.pread(self._descriptor, _RECORD_BYTES_MAX, 0)
            events, start_id = map(int, noted.split()[:2])
        except (OSError, ValueError):
            return None
        return (events, start_id) if _boot() and noted == _record(events, start_id) else None

    def write(self, events: int, start_id: int = 0) -> None:
        """Note how many events the file holds, all of them behind a batch."""
        record, written = _record(events, start_id), 0
        with suppress(OSError):
            written = os.pwrite(self._descriptor, record, 0)
        if written < len(record):
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)  # none, rather than an old one


def _record(events: int, start_id: int) -> bytes:
    text = b"%020d %020d %s" % (events, start_id, _boot())
    return b"%s %08x\n" % (text, zlib.crc32(text))


@cache
def _boot() -> bytes:
    """Return what changes when the machine starts again; nothing where it does not say."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b""
