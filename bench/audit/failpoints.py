"""Failpoints: named steps of the server at which a process can be made to die, or a disk to fail.

They exist in the launcher of `bench.audit.server` only: it wraps the named functions of `ingest`
before a worker starts, so the product has no trace of them. What is armed stands in a file that
each worker, and the insights process, reads at its start and at each SIGUSR1: `step:N=action`,
parted by commas. At its N-th passage from then on the action happens:

- `kill`: SIGKILL to itself; its number stands in another file then
- `crash`: SIGKILL to the supervisor first, so that all of the server goes down
- `eio`, `full`: fail as SQLite does on a failing disk and in a short write; three times. In the
  archive, whose files are none of SQLite's, as the system does
- `stall`: block the event loop for 300 ms
"""

import errno
import functools
import importlib
import inspect
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from ingest.spool.sqlite.failures import classified

FILE_VARIABLE: Final = "AUDIT_FAILPOINTS"
BUG_VARIABLE: Final = "AUDIT_BUG"
ARCHIVE: Final = "archive"
_DEATHS: Final = ".deaths"
_STALL_S: Final = 0.3
_REPEATS: Final = 3


class Step(NamedTuple):
    """A place to fail at: before or behind a call of one method."""

    name: str
    module: str
    method: str
    """`Class.method`, or a function."""
    is_behind: bool
    needs: str = ""
    """What has to be going on for it to be passed: nothing, "outage", "replay", or "disk"; or
    ARCHIVE, for those of the insights process."""


STEPS: Final = (
    Step("before-copy", "ingest.store.link", "CopyLink.copy", False),
    Step("after-copy-before-ack", "ingest.store.link", "CopyLink.copy", True),
    Step("mid-acks", "ingest.http.fast_connection", "FastConnection.settle", True),
    Step("before-spool-append", "ingest.spool", "Spool.append", False, "outage"),
    Step("after-spool-append-before-ack", "ingest.spool", "Spool.append", True, "outage"),
    Step("spool-write", "ingest.spool.file", "SpoolFile.append", False, "disk"),
    Step("spool-sync", "ingest.spool.file", "SpoolFile.append", True, "disk"),
    Step("spool-create", "ingest.spool.file", "SpoolFile.create", False, "disk"),
    Step("before-replay-read", "ingest.spool", "Spool.oldest", False, "replay"),
    Step("after-replay-read", "ingest.spool", "Spool.oldest", True, "replay"),
    Step(
        "after-replay-commit-before-remove",
        "ingest.spool",
        "Spool.remove",
        False,
        "replay",
    ),
    Step("after-remove", "ingest.spool", "Spool.remove", True, "replay"),
    Step(
        "archive-before-file-sync",
        "ingest.archive.directory",
        "Unfinished.finish",
        False,
        ARCHIVE,
    ),
    Step(
        "archive-after-file-sync",
        "ingest.archive.directory",
        "Unfinished.finish",
        True,
        ARCHIVE,
    ),
    Step(
        "archive-after-directory-sync",
        "ingest.archive.directory",
        "Directory.sync",
        True,
        ARCHIVE,
    ),
    Step("archive-after-naming", "ingest.archive.manifest", "name", True, ARCHIVE),
    Step("archive-after-mark", "ingest.archive.state", "advance", True, ARCHIVE),
    Step("archive-after-commit", "ingest.archive.passes", "archive", True, ARCHIVE),
    Step("archive-before-unnaming", "ingest.archive.manifest", "unname", False, ARCHIVE),
    Step("archive-after-merge", "ingest.archive.merging", "merge", True, ARCHIVE),
    Step("archive-before-deletion", "ingest.archive.directory", "Directory.sweep", False, ARCHIVE),
    Step("archive-after-deletion", "ingest.archive.directory", "Directory.sweep", True, ARCHIVE),
)


class Failpoints:
    """What is armed, and how often each step was passed since."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._armed: dict[str, tuple[int, str]] = {}
        self._passed: dict[str, int] = {}

    def reload(self, *_: object) -> None:
        """Read the file again; what was armed before is not any more. Also a signal's handler."""
        self._armed, self._passed = {}, {}
        if self._path is None:
            return
        with suppress(OSError):
            self._armed = parse(self._path.read_text())

    def passing(self, step: str) -> None:
        """Count a passage, and fail if it is the one."""
        armed = self._armed.get(step)
        if armed is None:
            return
        passed = self._passed[step] = self._passed.get(step, 0) + 1
        at, action = armed
        repeats = _REPEATS if action in {"eio", "full"} else 1
        if not at <= passed < at + repeats:
            return
        if action in {"kill", "crash"}:
            self._die(action)
        _act(action, _NEEDS[step])

    def _die(self, action: str) -> None:
        if self._path is not None:
            self._path.write_text("")  # whoever comes next is not to die of it
            with deaths(self._path).open("a") as file:
                file.write(f"{os.getpid()}\n")
        if action == "crash":
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def deaths(path: Path) -> Path:
    """Return where those who died of the failpoints in a file have left their numbers."""
    return path.with_name(path.name + _DEATHS)


def parse(text: str) -> dict[str, tuple[int, str]]:
    """Return number and action of each step in "step:N=action,…"; raise ValueError."""
    armed = {}
    for part in filter(None, text.strip().split(",")):
        place, _, action = part.partition("=")
        name, _, number = place.partition(":")
        if name not in {step.name for step in STEPS}:
            raise ValueError(f"{name} is no failpoint")
        armed[name] = (int(number), action)
    return armed


_NEEDS: Final = {step.name: step.needs for step in STEPS}


def _act(action: str, needs: str) -> None:
    match action:
        case "stall":
            time.sleep(_STALL_S)
        case "eio" if needs == ARCHIVE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        case "eio":
            raise _disk_error("disk I/O error", "SQLITE_IOERR_WRITE")
        case "full":
            raise _disk_error("database or disk is full", "SQLITE_FULL")
        case _:
            raise ValueError(f"{action} is no action of a failpoint")


def _disk_error(message: str, name: str) -> sqlite3.OperationalError:
    """Return an error as SQLite makes it."""
    error = sqlite3.OperationalError(message)
    error.sqlite_errorname, error.sqlite_errorcode = name, getattr(sqlite3, name)
    return error


def possible() -> list[Step]:
    """Return the steps that this version of the server has."""
    return [step for step in STEPS if _find(step) is not None]


def install(points: Failpoints, *, of_archive: bool) -> None:
    """Wrap every step of a worker, or of the insights process."""
    for step in STEPS:
        if (step.needs == ARCHIVE) is of_archive and (found := _find(step)) is not None:
            owner, name = found
            setattr(owner, name, _wrap(getattr(owner, name), step, points))


def _find(step: Step) -> tuple[Any, str] | None:
    """Return class, or module, and name of a step's method."""
    class_name, _, name = step.method.rpartition(".")
    try:
        owner: Any = importlib.import_module(step.module)
        owner = getattr(owner, class_name) if class_name else owner
    except (ImportError, AttributeError):
        return None
    return (owner, name) if hasattr(owner, name) else None


def _wrap(method: Callable[..., Any], step: Step, points: Failpoints) -> Callable[..., Any]:
    counts = _counts_rows if step.method == "CopyLink.copy" else _counts_always

    @functools.wraps(method)
    def wrapped(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the method takes
        if not step.is_behind and counts(arguments):
            _pass(step, points)
        result = method(*arguments, **named)
        if step.is_behind and counts(arguments):
            _pass(step, points)
        return result

    @functools.wraps(method)
    async def wrapped_async(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        if not step.is_behind and counts(arguments):
            _pass(step, points)
        result = await method(*arguments, **named)
        if step.is_behind and counts(arguments):
            _pass(step, points)
        return result

    return wrapped_async if inspect.iscoroutinefunction(method) else wrapped


def _pass(step: Step, points: Failpoints) -> None:
    """Pass a step; what fails there arrives above as if it had come from below the spool's storage.

    To the archive it comes as the disk raises it.
    """
    with nullcontext() if step.needs == ARCHIVE else classified():
        points.passing(step.name)


def _counts_rows(arguments: tuple[Any, ...]) -> bool:
    """Leave out probes: they copy no rows, nobody's event."""
    return bool(arguments[2])


def _counts_always(arguments: tuple[Any, ...]) -> bool:  # noqa: ARG001
    return True
