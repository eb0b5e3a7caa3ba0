"""The recorder: an append-only history of what was sent and what was answered, outside the server.

One line an entry, fields parted by tabs: a kind, nanoseconds of the monotonic clock, and what the
kind says::

    sent       label  expected  body  claim  server    before a byte of the request leaves
    again      label  token  server           the event of `token` is about to be sent once more
    acked      label  status  id  created_at
    unsure     label  status  id  created_at  202; may have been sent before, says the answer
    told       label  status  row             sent before, says the answer, and this is stored
    early      label  id  created_at          202 before it is stored, as was asked for
    refused    label  status  code            certainly not stored, says the answer
    unknown    label  why     port            no answer, or one that leaves it open
    mixed      label  answer                  an answer that belongs to no or another request
    fault      name   begun | ended  server   whom it befalls; -1 for all
    damaged    token                          the audit itself has spoilt it on the spool's disk
    aside      id  nanoseconds  params        found in `rejected_events`, put there at that time
    held       text                           good events that bad ones have held up
    broke      pid    nanoseconds  ports      connections of a worker that was ended since that time
    outside    client  nanoseconds  server    could not connect, and tried since that time
    unstaffed  text                           a worker that was not replaced, or that did not end
    starved    server nanoseconds  waited     for the CPU, by a worker of it, since that time
    unfollowed text                           a server that did not do as another one was told
    note       text

A label is an attempt's: the token of its event, and behind the first attempt a number. Servers have
numbers, too.
Entries are written at once and fsynced every few milliseconds by a thread, so that several
thousand events a second go through; the history is the checker's only source.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.audit.history import EVERY
from bench.audit.workload import SentEvent

_FSYNC_INTERVAL_S: Final = 0.005
_ANSWER_BYTES_KEPT: Final = 400
_PARAMS_CHARS_KEPT: Final = 400
"""Enough for the token, wherever Postgres prints it."""


class Recorder:
    """Writes the history, and counts for the progress bar."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        """Entries by kind; acknowledged ones also by status."""
        self.watched: list[tuple[str, int]] | None = None
        """While it is a list: ids of good events that are acknowledged, for a fault to look at; and
        with which status, or 0 in a batch, which is spooled for any of its events."""
        self.lasting: set[tuple[str, int]] = set()
        """Faults that have begun and are not lifted, and of which server."""
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

    def sent(self, event: SentEvent, server: int = 0) -> None:
        """Note an event that is about to be sent to one of the servers."""
        if event.attempt:
            self._write("again", event.label, event.token, str(server))
        else:
            said = (event.expected, event.body, event.claim)
            self._write("sent", event.label, *said, str(server))

    def answered(self, label: str, status: int, event_id: str, created_at: str) -> None:
        """Note a 200 or 202."""
        self.counts[str(status)] += 1
        self._write("acked", label, str(status), event_id, created_at)

    def unsure(self, label: str, status: int, event_id: str, created_at: str) -> None:
        """Note a 202 whose row is only stored if the event was not sent before."""
        self.counts["acked"] += 1
        self._write("unsure", label, str(status), event_id, created_at)

    def told(self, label: str, status: int, row: bytes) -> None:
        """Note a 200 or 202 that says that the event was sent before, and what is stored."""
        self.counts["acked"] += 1
        self._write("told", label, str(status), row)

    def early(self, label: str, event_id: str, created_at: str) -> None:
        """Note a 202 that came before the event was durable."""
        self.counts["acked"] += 1
        self._write("early", label, event_id, created_at)

    def refused(self, label: str, status: int, code: str) -> None:
        """Note an answer that says the event is not stored."""
        self._write("refused", label, str(status), code)

    def unknown(self, label: str, why: str, port: int = 0) -> None:
        """Note that nobody can say whether the event is stored; whose port the connection had."""
        self._write("unknown", label, why, str(port))

    def mixed(self, label: str, answer: bytes) -> None:
        """Note an answer to `label` that does not belong to it."""
        self._write("mixed", label, repr(answer[:_ANSWER_BYTES_KEPT]))

    def fault(self, name: str, what: str, server: int = EVERY) -> None:
        """Note that a fault begins or has been lifted, of one server or of all."""
        (self.lasting.add if what == "begun" else self.lasting.discard)((name, server))
        self._write("fault", name, what, str(server))

    def damaged(self, token: str) -> None:
        """Note that a bit was turned in the spooled batch that holds this event."""
        self._write("damaged", token)

    def aside(self, event_id: str, at_ns: int, params: str) -> None:
        """Note an event that is in `rejected_events`, and when it came there."""
        flat = params.replace("\t", " ").replace("\n", " ")
        self._write("aside", event_id, str(at_ns), flat[:_PARAMS_CHARS_KEPT])

    def held(self, text: str) -> None:
        """Note that events were not stored in time because of others."""
        self._write("held", text)

    def broke(self, pid: int, since_ns: int, ports: Iterable[int]) -> None:
        """Note that a worker has ended, or is about to, and who was connected to it."""
        self._write("broke", str(pid), str(since_ns), " ".join(map(str, ports)))

    def outside(self, client: int, since_ns: int, server: int = 0) -> None:
        """Note that a client could not connect."""
        self._write("outside", str(client), str(since_ns), str(server))

    def unstaffed(self, text: str) -> None:
        """Note that workers were not as they have to be, in time."""
        self._write("unstaffed", text)

    def starved(self, server: int, since_ns: int, waited_ns: int) -> None:
        """Note for how long a worker of a server had to wait for the CPU since a time."""
        self._write("starved", str(server), str(since_ns), str(waited_ns))

    def unfollowed(self, text: str) -> None:
        """Note that a server did not do in time as was said at another one."""
        self._write("unfollowed", text)

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
