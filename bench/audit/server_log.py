"""What the server's log says of processes that ended or could not begin, and of the archive."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from bench.audit.process import ServerProcess

_ENDED: Final = {
    "a worker ended, another one is started",
    "the insights process ended, another one is started",
}
_NOT_BEGUN: Final = {
    "a worker can't be replaced",
    "the insights process can't be replaced",
    "the workers that were not replaced go on as before",
    "the configuration can't be read anew",
}
_BEGUN: Final = "an archive is begun: everything is archived anew"
_FIRST: Final = "there was none"
_KILLED: Final = "SIGKILL"
_SIGNALS: Final = (_KILLED, "SIGTERM")
"""How one ends that is killed or told to stop before it has begun."""


def odd_ends(server: ServerProcess) -> list[str]:
    """Return what is said of workers whose end is none of the audit's doing."""
    told = server.ended | dict.fromkeys(server.deaths(), _KILLED)
    found = []
    for said in _lines(server):
        match said.get("message"):
            case message if message in _ENDED and told.get(said["pid"]) != said["how"]:
                found.append(f"{message.partition(' ended')[0]} ended: {said['how']}")
            case message if message in _NOT_BEGUN and not said["reason"].endswith(_SIGNALS):
                found.append(f"{message}: {said['reason']}")
    return found


def archives_begun(server: ServerProcess) -> list[str]:
    """Return why archives were begun in the place of others."""
    told = (said for said in _lines(server) if said.get("message") == _BEGUN)
    return [reason for said in told if (reason := str(said["reason"])) != _FIRST]


def _lines(server: ServerProcess) -> Iterator[Mapping[str, Any]]:
    for line in server.log_path.read_text(errors="replace").splitlines():
        with suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict):
                yield said
