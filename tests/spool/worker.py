"""Processes that share a spool directory, as the workers of one server do, for tests to command.

Run as a program it opens a spool, watches it, and does what each line says, a JSON list of a name
and arguments; the answer is a line of JSON. What they note of keys lies in a server's segment.
"""

import asyncio
import json
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import structlog
from structlog.testing import LogCapture

from ingest.share.member import KeyNotes, Member
from ingest.share.segment import Segment
from ingest.spool import Spool, SpoolFull, directory
from tests.spool.spooling import (
    MANY,
    MIB,
    ROOT,
    TIMEOUT_S,
    keys_of,
    make_batch,
    make_large_batch,
    number_of,
)

WORKERS = 32


class Worker:
    """One of the processes."""

    def __init__(self, process: subprocess.Popen[bytes], segment: Segment, slot: int) -> None:
        self._process = process
        self._segment: Segment | None = segment
        self.slot = slot

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, command: str, *arguments: object) -> Any:  # noqa: ANN401 - as each command has it
        """Have it do something; return what it answers."""
        self.send(command, *arguments)
        return self.answer()

    def send(self, command: str, *arguments: object) -> None:
        """Have it do something, and go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> Any:  # noqa: ANN401 - as above
        """Return what it answers next."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 2 * TIMEOUT_S)
        assert ready, "it does not answer"
        line = self._process.stdout.readline()
        assert line, "the process ended"
        return json.loads(line)

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self._process.kill()
        self._process.wait()
        self._retire()

    def end(self) -> None:
        """Have it close its spool and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(TIMEOUT_S)
        self._retire()

    def _retire(self) -> None:
        """Take its slot back, as a supervisor does."""
        if self._segment is not None:
            self._segment.retire(self.slot)
            self._segment = None

    def release(self) -> None:
        """Be rid of it, however far it is."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


class Workers:
    """Starts them, each in the next slot unless it is told which."""

    def __init__(self, directory_: Path) -> None:
        self.directory = directory_
        self._segment = Segment.create(workers=WORKERS)
        self._started: list[Worker] = []

    @property
    def noted(self) -> list[int]:
        """The slots of those that have noted keys."""
        return [slot.index for slot in self._segment.slots if slot.has_spooled_keys]

    @property
    def are_keys_known(self) -> bool:
        """Whether anybody has noted keys, or ended with some."""
        return self._segment.has_spooled_keys(besides=len(self._segment.slots) - 1)

    def again(self) -> Self:
        """Return those of another server that is started on the same directory."""
        other = type(self)(self.directory)
        other._started = self._started
        return other

    def join(self) -> KeyNotes:
        """Be one of them in this process; return the notes of that one."""
        return Member(self._segment, self._segment.take_slot(0)).key_notes

    def start(self, *, bytes_max: int = 64 * MIB, files_max: int | None = None) -> Worker:
        """Start one; it has opened its spool when this returns."""
        options = {
            "directory": str(self.directory),
            "segment": self._segment.descriptor,
            "slot": self._segment.take_slot(0),
            "bytes_max": bytes_max,
            "files_max": files_max,
        }
        process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._segment.descriptor,),
            env={"PYTHONPATH": str(ROOT)},
        )
        worker = Worker(process, self._segment, int(str(options["slot"])))
        self._started.append(worker)
        assert worker.answer() == "open"
        return worker

    def release(self) -> None:
        """Be rid of all of them."""
        for worker in self._started:
            worker.release()

    @classmethod
    @contextmanager
    def on(cls, directory_: Path) -> Iterator[Self]:
        """Share a new directory in one that is there."""
        made = cls(directory_ / "spool")
        try:
            yield made
        finally:
            made.release()


class _Commands:
    """What a process can be asked for."""

    def __init__(self, spool: Spool, logs: LogCapture) -> None:
        self._spool = spool
        self._logs = logs

    async def append(self, *numbers: int) -> None:
        """Append batches of three events, with keys."""
        for number in numbers:
            batch = make_batch(number)
            await self._spool.append(batch, keys_of(batch))

    async def append_plain(self, *numbers: int) -> None:
        """Append batches without keys."""
        for number in numbers:
            await self._spool.append(make_batch(number))

    async def append_large(self, size: int, *numbers: int) -> None:
        """Append batches of so many bytes, with keys."""
        for number in numbers:
            batch = make_large_batch(number, size)
            await self._spool.append(batch, keys_of(batch))

    async def fill(self, first: int) -> int:
        """Append large batches until the spool is full; return how many it took."""
        for n in count():
            try:
                await self._spool.append(make_large_batch(first + n))
            except SpoolFull:
                return n
        raise AssertionError

    async def churn(self, first: int, batches: int) -> None:
        """Append, read and remove, a few at a time; leave every tenth."""
        for number in range(first, first + batches):
            batch = make_large_batch(number, 100_000)
            await self._spool.append(batch, keys_of(batch))
            found = await self._spool.oldest(MANY)
            await self._spool.remove([each for each in found if number_of(each) % 10])

    async def drain(self) -> list[int]:
        """Take everything out; return the numbers."""
        numbers: list[int] = []
        while batches := await self._spool.oldest(MANY):
            numbers += [number_of(batch) for batch in batches]
            await self._spool.remove(batches)
        return numbers

    async def find(self, *numbers: int) -> list[int]:
        """Return of which batches all rows are found by their keys, as they were appended."""
        batches = {number: make_batch(number) for number in numbers}
        found = await self._spool.find([key for rows in batches.values() for key in keys_of(rows)])
        return [
            number
            for number, rows in batches.items()
            if all(found.get(key) == [row] for key, row in zip(keys_of(rows), rows, strict=True))
        ]

    async def find_large(self, size: int, *numbers: int) -> list[int]:
        """Return of which large batches anything is found, and all that is, is right."""
        batches = {number: make_large_batch(number, size) for number in numbers}
        found = await self._spool.find([key for rows in batches.values() for key in keys_of(rows)])
        seen = []
        for number, rows in batches.items():
            expected = dict(zip(keys_of(rows), ([row] for row in rows), strict=True))
            for key in expected.keys() & found.keys():
                assert found[key] == expected[key]
                seen.append(number)
        return seen

    async def state(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "events": self._spool.events,
            "recovered": self._spool.recovered_events,
            "damaged": self._spool.damaged_events,
            "has_keys": self._spool.has_dedup_keys,
            "has_room": self._spool.has_room,
        }

    async def logs(self) -> list[str]:
        """Return what was logged so far."""
        return [str(each["event"]) for each in self._logs.entries]


async def _serve(options: dict[str, Any]) -> None:
    logs = LogCapture()
    structlog.configure(processors=[logs])
    if options["files_max"] is not None:
        directory.FILES_MAX = options["files_max"]  # type: ignore[misc]
    member = Member(Segment.attach(options["segment"]), options["slot"])
    spool = Spool(
        Path(options["directory"]),
        notes=member.key_notes,
        bytes_max=options["bytes_max"],
        free_bytes_min=MIB,
        timeout_s=TIMEOUT_S,
    )
    await spool.open()
    watching = asyncio.create_task(spool.watch())
    commands = _Commands(spool, logs)
    _say("open")
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        name, *arguments = json.loads(line)
        _say(await getattr(commands, name)(*arguments))
    watching.cancel()
    await spool.close()


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
