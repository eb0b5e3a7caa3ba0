"""What the command line of `nonito serve` said, handed to the process that goes on without click.

That is the same process with the same command line, begun anew: click, and what reading with it has
left behind, would take 1 MB for as long as the server lives.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from ingest.errors import StartupError

_VARIABLE: Final = "NONITO_COMMAND_LINE"
_NAME: Final = Path("/proc/self/comm")
"""What this process is called where the command line is not shown: by `pgrep`, by `top`."""
_HELD: Final = (signal.SIGTERM, signal.SIGINT)


class CommandLine(NamedTuple):
    """What was given of the configuration: its file, and settings by their dotted key."""

    path: Path | None
    flags: dict[str, Any]


def begin_anew(given: CommandLine) -> NoReturn:
    """Run this process's own command again, which will `take` what this one has read.

    A signal to end that comes meanwhile is held back until then. Raises StartupError.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    path = None if given.path is None else str(given.path)
    os.environ[_VARIABLE] = f"{os.getpid()} {json.dumps([_name(), path, given.flags])}"
    try:
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - itself
    except OSError as error:
        raise StartupError(f"{sys.executable} can't be run: {error.strerror}") from error


def take() -> CommandLine | None:
    """Return what this process read before it began anew, if it did; no child finds it.

    From then on SIGTERM and SIGINT end it at once, without a traceback.
    """
    pid, _, text = os.environ.get(_VARIABLE, "").partition(" ")
    if pid != str(os.getpid()):
        return None
    del os.environ[_VARIABLE]
    for number in _HELD:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    name, path, flags = json.loads(text)
    with suppress(OSError):
        _NAME.write_text(name)
    return CommandLine(None if path is None else Path(path), flags)


def _name() -> str:
    with suppress(OSError):
        return _NAME.read_text().strip()
    return ""
