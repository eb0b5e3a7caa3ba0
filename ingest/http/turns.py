"""Turns: whose request is worked on next, so that no app's many requests hold up another's few.

What is ready is all worked on before anything else is looked at, so with 256 requests of one app
everybody waited for 100 ms, and an event's COPY takes five such rounds. So only so many requests
are worked on in a round of the event loop that it takes 1 to 2 ms; the others wait, and of each app
in turn one goes on. In a round that takes long by itself, as with many connections of the fast
lane, they have a part of it: one by one they did 400 a second of 1,300.
"""

import asyncio
import time
from collections import deque
from typing import Final

_AT_ONCE: Final = 8
"""So many go on before one waits; behind that, it depends on how long they take. Each round is
one of the event loop's, of 10 µs, so that few requests are none the dearer."""
_AT_ONCE_MAX: Final = 64
_SHORT_S: Final = 0.001
_LONG_S: Final = 0.002
_PART: Final = 1 / 4
"""Or so much of the time that all else in the round takes, if that is more."""


class Turns:
    """Who may work now, and who waits for it; of all requests of the process but the fast lane's.

    While nobody has to wait, a turn costs a look at a number.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}
        """By app, the next one first."""
        self._at_once = _AT_ONCE
        self._left = _AT_ONCE
        """So many may still go on in this round."""
        self._began_s = 0.0
        """By the CPU that was used, when this round began; 0 while nobody waits."""
        self._went_on_s = 0.0
        """And when those went on in it who had waited: they do so one right behind the other."""

    async def take(self, app_id: int) -> None:
        """Wait until it is a request's turn, to work for 1 ms at most."""
        if self._left:
            self._left -= 1
        else:
            await self._wait(app_id)

    async def take_another(self, app_id: int) -> None:
        """Let others go first, behind a turn, and wait for the next one."""
        if self._left:
            self._left -= 1
            await asyncio.sleep(0)
        else:
            await self._wait(app_id)

    async def _wait(self, app_id: int) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        if not self._waiting and not self._began_s:
            loop.call_soon(self._begin_round)
        self._waiting.setdefault(app_id, deque()).append(turn)
        await turn

    def _begin_round(self) -> None:
        """Let the next ones go on, or end where nobody waits any more."""
        now_s = time.thread_time()
        if self._began_s:
            self._adapt(now_s)
        self._left, self._began_s = self._at_once, 0.0
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._note_going_on)
        while self._left and self._waiting:
            self._left -= self._let_go_on()
        if self._left < self._at_once:
            self._began_s = now_s
            asyncio.get_running_loop().call_soon(self._begin_round)
        else:
            self._at_once = self._left = _AT_ONCE

    def _note_going_on(self) -> None:
        self._went_on_s = time.thread_time()

    def _adapt(self, now_s: float) -> None:
        """Let fewer work at once where that took long, and more where some waited for nothing."""
        took_s = now_s - self._went_on_s
        long_s = max(_LONG_S, (self._went_on_s - self._began_s) * _PART)
        if took_s > long_s:
            self._at_once = max(1, self._at_once // 2)
        elif took_s < long_s / 2 and self._waiting:
            self._at_once = min(_AT_ONCE_MAX, self._at_once + 1)

    def _let_go_on(self) -> bool:
        """Let one of the next app go on; return whether it is still there."""
        app_id = next(iter(self._waiting))
        turns = self._waiting.pop(app_id)
        turn = turns.popleft()
        if turns:
            self._waiting[app_id] = turns  # behind the others
        if turn.done():
            return False
        turn.set_result(None)
        return True
