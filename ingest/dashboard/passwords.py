"""Passwords: hashed with Argon2id in a thread, one at a time, as each takes 64 MiB for a moment."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from ingest.dashboard.problems import busy

if TYPE_CHECKING:
    from argon2 import PasswordHasher

CHARS_MIN: Final = 10
CHARS_MAX: Final = 500
RULE: Final = f"Choose a password of {CHARS_MIN} characters or more, {CHARS_MAX} at most."
_WAITING_MAX: Final = 20

T = TypeVar("T")


class Passwords:
    """Hashes and compares them; of those who want that at once some wait, and others are told."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="password")
        self._waiting = 0
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """Return what a password is kept as; raise Problem."""
        return await self._in_turn(lambda: _hasher().hash(password))

    async def is_right(self, password: str, kept: str | None) -> bool:
        """Return whether it is the one that was kept so; raise Problem.

        Whoever has no account, and nothing that was kept, waits as long as who has one.
        """
        is_same = await self._in_turn(lambda: self._is_same(kept, password))
        return is_same and kept is not None

    def _is_same(self, kept: str | None, password: str) -> bool:
        # Made whoever comes first, as the time it takes would tell of one who has no account.
        self._nobodys = self._nobodys or _hasher().hash("nobody's")
        return _is_same(kept or self._nobodys, password)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING_MAX:
            raise busy(1)
        # Whoever asked for it may go; what it takes counts until it is done.
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        future.add_done_callback(self._on_done)
        return await asyncio.shield(future)

    def _on_done(self, future: "asyncio.Future[T]") -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # nobody may be there any more to ask for it


def is_fit(password: str) -> bool:
    """Return whether it may be chosen."""
    return CHARS_MIN <= len(password) <= CHARS_MAX


def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher  # noqa: PLC0415 - of the extra, for those who sign in

    return PasswordHasher()


def _is_same(kept: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - as above

    try:
        return _hasher().verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False
