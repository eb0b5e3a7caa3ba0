"""Seeded bugs that one server alone does not show: what it forgets is that there are others."""

# ruff: noqa: SLF001 - bugs are made inside

import asyncio
import hashlib
import os
from collections.abc import Sequence
from typing import Any, Final

from bench.audit.bug import Bug
from bench.audit.patch import replace
from ingest.http import idempotency
from ingest.store import copier, merge
from ingest.store.keyring import Keyring
from ingest.store.postgres import Connection
from ingest.store.turn_link import TurnLink

_TAKES_THE_KEY_S_EVENT: Final = (
    f"UPDATE {merge.STAGING} SET id = event_id, is_retry = true"  # noqa: S608 - a name of ours
    " WHERE event_id <> id AND true;"
)


def keys_are_one_server_s() -> None:
    """Know an Idempotency-Key again only if this server was sent it before."""
    original = idempotency.digest_of

    def digest_of(fields: Sequence[str]) -> bytes | None:
        digest = original(fields)
        own = f"{os.getppid()}".encode()
        return digest and hashlib.sha256(own + digest).digest()[: len(digest)]

    replace(idempotency, "digest_of", digest_of)


def replay_overlooks_the_others() -> None:
    """Store what was spooled, though its key stands for an event of another server's by now."""
    original = TurnLink.__init__
    if _TAKES_THE_KEY_S_EVENT not in merge._RESERVE:
        raise AttributeError("a key's event is taken in another way: the bug has to follow")
    reserve = merge._RESERVE.replace(_TAKES_THE_KEY_S_EVENT, "")

    def init(self: TurnLink, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        original(self, *arguments, **named)
        self._merging._reserve_and_look = copier.query(reserve + merge.DAYS)

    replace(TurnLink, "__init__", init)


def keys_are_read_once() -> None:
    """Read the keys when the server starts, and hear of no change."""

    async def follow(self: Keyring, connection: Connection) -> None:
        await self._read(connection)
        self._generation.advance()
        self._seen = self._generation.read()
        await asyncio.Event().wait()  # for good

    replace(Keyring, "_follow", follow)


BUGS: Final = {
    "keys-are-one-server-s": Bug(keys_are_one_server_s, (), ("stored-once",), servers=2),
    "replay-overlooks-the-others": Bug(
        replay_overlooks_the_others, ("link-refused",), ("stored-once",), servers=2
    ),
    "keys-are-read-once": Bug(
        keys_are_read_once, ("key-revoked",), ("keys-followed",), times=1, servers=2
    ),
}
