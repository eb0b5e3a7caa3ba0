"""Sending: what the shop does as a client of a server, with API keys like anybody's."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from typing import Final, NamedTuple, Self

import aiohttp

from ingest.errors import StartupError

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_PATIENCE_S: Final = 60.0
_RETRY_S: Final = 0.2
_QUESTIONS_MAX: Final = 30  # of a key's 60 a minute
_QUESTION_PAUSE_S: Final = 1.0
_STORED: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED)
_PASSING: Final = (
    0,
    HTTPStatus.UNAUTHORIZED,  # of a key that is new: servers know it within a second
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_SHOWN_CHARS: Final = 200


class _Answer(NamedTuple):
    status: int
    """0 where there was none."""
    text: str

    def __str__(self) -> str:
        return f"{self.status or 'no answer'}: {self.text[:_SHOWN_CHARS]}"


class Sender:
    """Sends to one server, with one key, from one event loop; to be used with `async with`."""

    def __init__(self, address: str, key: str) -> None:
        self._address = address
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        self._session = aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def store(self, batch: bytes) -> None:
        """Send a batch until all of it is stored; raise StartupError if it never is."""
        last = _Answer(0, "")
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while (last := await self._post("/events", batch)).status not in _STORED:
                    if last.status not in _PASSING:
                        raise StartupError(f"the demo's events are refused: {last}")
                    await asyncio.sleep(_RETRY_S)
        except TimeoutError:
            raise StartupError(f"the demo's events are not taken: {last}") from None

    async def wait_until_answered(self, question: str, read_key: str) -> None:
        """Ask until there is an answer, but not for ever."""
        for _ in range(_QUESTIONS_MAX):
            if await self._is_answered(question, read_key):
                return
            await asyncio.sleep(_QUESTION_PAUSE_S)

    async def try_once(self, event: bytes) -> None:
        """Send one event, whatever becomes of it."""
        await self._post("/event", event)

    async def _is_answered(self, question: str, read_key: str) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.get(question, headers={"X-API-Key": read_key}) as answer:
                return answer.status == HTTPStatus.OK
        return False

    async def _post(self, path: str, body: bytes) -> _Answer:
        brief = {"Prefer": "return=minimal"}
        try:
            async with self._session.post(
                f"{self._address}{path}", data=body, headers=brief
            ) as answer:
                return _Answer(answer.status, await answer.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            return _Answer(0, str(error) or type(error).__name__)
