"""What a process asks of the kernel, as `strace` writes it down, and in which order."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

_CALLS: Final = "fsync,fdatasync,write,writev,sendmsg,sendto,pwrite64,pwritev"
_DATA_BYTES_MAX: Final = 1_048_576
"""What is longer than this is cut off, and fails the parser."""
_DETACH_TIMEOUT_S: Final = 10.0
_LINE: Final = re.compile(r"(?P<thread>\d+) +(?:<\.\.\. )?(?P<name>\w+)(?P<rest>.*)", re.DOTALL)
_PATH: Final = re.compile(r"\(\d+<([^>]*)>")
_STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_RESULT: Final = re.compile(r"\) += (-?\d+|\?)")
_EVENT: Final = re.compile(r"\d+ +(\+\+\+|---)")
"""A thread's end, or a signal."""
_UNFINISHED: Final = "<unfinished ...>"
_DETACHED: Final = "<detached ...>"
NEVER: Final = 1 << 62


class Call(NamedTuple):
    """One system call on a descriptor."""

    name: str
    path: str
    """A file's path, or what else the descriptor is: `socket:[123]`."""
    data: bytes
    """What it wrote, all pieces together."""
    began: int
    """The number of the line on which it was asked for."""
    ended: int = NEVER
    """The number of the line on which the kernel had done it; `NEVER` if the trace ends before."""
    result: int = -1
    """What the kernel returned; -1 for a failure."""


def obstacle() -> str:
    """Return why no other process can be traced here; empty when one can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            with tracing(sleeper.pid, Path(os.devnull)):
                return ""
        except AssertionError as refused:
            return f"tracing is not permitted: {refused}"
        finally:
            sleeper.kill()


@contextmanager
def tracing(pid: int, output: Path) -> Iterator[None]:
    """Write what all threads of a process write and sync to a file; it is whole afterwards."""
    options = ("-f", "-y", "-xx", "-s", str(_DATA_BYTES_MAX), "-e", f"trace={_CALLS}")
    with subprocess.Popen(
        ["strace", *options, "-o", output, "-p", str(pid)], stderr=subprocess.PIPE, text=True
    ) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        if "attached" not in said:
            raise AssertionError(said.strip())
        try:
            yield
        finally:
            strace.send_signal(signal.SIGTERM)  # lets go of the process, which goes on
            strace.wait(_DETACH_TIMEOUT_S)


def parse(lines: Iterable[str]) -> list[Call]:
    """Return the calls in the order in which they were asked for.

    While one thread waits for the disk another may go on: then the line of the first ends with
    `<unfinished ...>`, and one that says `resumed` tells when it was done.
    """
    calls: list[Call] = []
    unfinished: dict[str, int] = {}
    for number, line in enumerate(lines):
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            assert _EVENT.match(line), line[:200]
            continue
        thread, rest = found["thread"], found["rest"]
        if rest.startswith(" resumed>"):
            at = unfinished.pop(thread)
            calls[at] = _ended(calls[at], rest, number)
            continue
        call = Call(found["name"], _path(rest), _data(rest), number)
        if rest.endswith(_UNFINISHED):
            unfinished[thread] = len(calls)
        else:
            call = _ended(call, rest, number)
        calls.append(call)
    return calls


def _ended(call: Call, rest: str, number: int) -> Call:
    if rest.endswith(_DETACHED):  # the tracer ended first
        return call
    result = _RESULT.search(rest)
    assert result is not None, rest[-200:]
    return call._replace(ended=number, result=-1 if result[1] == "?" else int(result[1]))


def _path(rest: str) -> str:
    found = _PATH.match(rest)
    return _bytes(found[1]).decode() if found else ""


def _data(rest: str) -> bytes:
    pieces = _STRING.findall(rest)
    assert not any(cut for _, cut in pieces), "the trace holds a part of the data only"
    return b"".join(_bytes(piece) for piece, _ in pieces)


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))
