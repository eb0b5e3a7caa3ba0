"""What an operator does to API keys, and what has to count so at every server within seconds.

Asked with an event that has no name, so nothing is stored: a key that counts gets it a 400.
"""

from contextlib import closing
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from random import Random
from typing import Final

from bench.audit import waiting
from bench.audit.faults import Fault
from bench.audit.node import Node
from bench.audit.system import System
from ingest.store import api_keys

FOLLOWED_S_MAX: Final = 10.0
"""Twice the interval at which keys are read where no notification arrives."""
_APP: Final = "audit-1"
_PREFIX_CHARS: Final = 11
_ASK_TIMEOUT_S: Final = 2.0
_POLL_S: Final = 0.1
_JSON: Final = {"Content-Type": "application/json"}


class KeyRevoked(Fault):
    """A key is made and, as soon as every server has taken it, revoked."""

    name = "key-revoked"
    weight = 3

    def is_possible(self, system: System) -> bool:
        """Require another server than the one that is told."""
        return len(system.nodes) > 1

    async def inject(self, system: System, random: Random) -> None:  # noqa: ARG002 - no chance
        """Make it, see it taken, revoke it, see it refused; note who is late."""
        await system.wait_until_all_listen()
        async with system.database.session() as connection:
            key = await api_keys.create(connection, _APP, self.name, None)
        await _see(system, key, HTTPStatus.BAD_REQUEST, "takes no key that was made")
        async with system.database.session() as connection:
            await api_keys.revoke(connection, key[:_PREFIX_CHARS])
        await _see(system, key, HTTPStatus.UNAUTHORIZED, "takes a key that was revoked")


async def _see(system: System, key: str, status: HTTPStatus, otherwise: str) -> None:
    """Wait until every server answers the key so; note those that do not in time."""
    for node in system.nodes:
        answers = partial(_answers, node, key, status)
        if not await waiting.until_in_thread(answers, FOLLOWED_S_MAX, _POLL_S):
            system.recorder.unfollowed(f"server {node.number} {otherwise} {FOLLOWED_S_MAX} s ago")


def _answers(node: Node, key: str, status: HTTPStatus) -> bool:
    """Whether a server answers an event with this key, and without a name, so."""
    with closing(HTTPConnection("127.0.0.1", node.server.port, timeout=_ASK_TIMEOUT_S)) as asking:
        try:
            asking.request("POST", "/event", b"{}", {"X-API-Key": key, **_JSON})
            return asking.getresponse().status == status
        except (OSError, HTTPException):
            return False


FAULTS: Final = (KeyRevoked(),)
