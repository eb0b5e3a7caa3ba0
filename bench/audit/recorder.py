"""The recorder: an append-only history of what was sent and what was answered, outside the server.

One line an entry, fields parted by tabs: a kind, nanoseconds of the monotonic clock, and what the
kind says::

    sent       token  expected  body      written before a byte of the request leaves
    acked      token  status  id  created_at
    refused    token  status  code        certainly not stored, says the answer
    unknown    token  why                 no answer, or one that leaves it open
    mixed      token  answer              an answer that belongs to no or another request
    fault      name   begun | ended
    damaged    token                      the audit itself has spoilt it on the spool's disk
    note       text

Entries are written at once and fsynced every few milliseconds by a thread, so that several
thousand events a second go through; the history is the checker's only source.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.audit.workload import SentEvent

_FSYNC_INTERVAL_S: Final = 0.005
_ANSWER_BYTES_KEPT: Final = 400


class Recorder:
    """Writes the history, and counts for the progress bar."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        """Entries by kind; acknowledged ones also by status."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._is_dirty = False

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator["Recorder"]:
        """Fsync in the background, and once more at the end."""
        task = asyncio.create_task(self._keep())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            os.fdatasync(self._file)
            os.close(self._file)

    @property
    def acked(self) -> int:
        """Events acknowledged so far."""
        return self.counts["acked"]

    def sent(self, event: SentEvent) -> None:
        """Note an event that is about to be sent."""
        self._write("sent", event.token, event.expected, event.body)

    def answered(self, token: str, status: int, event_id: str, created_at: str) -> None:
        """Note a 200 or 202."""
        self.counts[str(status)] += 1
        self._write("acked", token, str(status), event_id, created_at)

    def refused(self, token: str, status: int, code: str) -> None:
        """Note an answer that says the event is not stored."""
        self._write("refused", token, str(status), code)

    def unknown(self, token: str, why: str) -> None:
        """Note that nobody can say whether the event is stored."""
        self._write("unknown", token, why)

    def mixed(self, token: str, answer: bytes) -> None:
        """Note an answer to `token` that does not belong to it."""
        self._write("mixed", token, repr(answer[:_ANSWER_BYTES_KEPT]))

    def fault(self, name: str, what: str) -> None:
        """Note that a fault begins or has been lifted."""
        self._write("fault", name, what)

    def damaged(self, token: str) -> None:
        """Note that a bit was turned in the spooled batch that holds this event."""
        self._write("damaged", token)

    def note(self, text: str) -> None:
        """Note something for whoever reads the history."""
        self._write("note", text)

    def _write(self, kind: str, *fields: str | bytes) -> None:
        self.counts[kind] += 1
        encoded = (field.encode() if isinstance(field, str) else field for field in fields)
        head = f"{kind}\t{time.monotonic_ns()}".encode()
        os.write(self._file, b"\t".join((head, *encoded)) + b"\n")
        self._is_dirty = True

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_FSYNC_INTERVAL_S)
            if self._is_dirty:
                self._is_dirty = False
                await asyncio.to_thread(os.fdatasync, self._file)
