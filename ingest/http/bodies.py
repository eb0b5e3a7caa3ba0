"""Reading a request's body: bounded in size, alone and with all others, and in time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ingest.config import Limits
from ingest.errors import Code, Refusal

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECT_CONTINUE: Final = "100-continue"


class BodyReader:
    """Reads the bodies of all requests of aiohttp's lane."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reading_bytes = 0

    async def read(self, request: web.BaseRequest, bytes_max: int) -> bytes:
        """Return the body; the length that a client announces is checked before it is read."""
        if (request.content_length or 0) > bytes_max:
            raise _too_large(bytes_max)
        _require_known_expectation(request)
        if request.content.is_eof():  # all of it came with the head: no time-out to arm
            body = request.content.read_nowait()
            if len(body) > bytes_max:
                raise _too_large(bytes_max)
            return body
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                await _continue(request)
                return await self._read_slowly(request, bytes_max)
        except TimeoutError:
            raise Refusal(
                Code.REQUEST_TIMEOUT, "The request's body did not arrive in time."
            ) from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            # A malformed chunk, or a client that went away in the middle of its body.
            raise Refusal(Code.BAD_REQUEST, "The request's body is not well-formed.") from None

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count what becomes of a body among those that are read; raise Refusal if it is much."""
        if size > self._limits.bodies_bytes_max:
            raise _too_large(self._limits.bodies_bytes_max)
        if self._reading_bytes + size > self._limits.bodies_bytes_max:
            raise _overloaded()
        self._reading_bytes += size
        try:
            yield
        finally:
            self._reading_bytes -= size

    async def _read_slowly(self, request: web.BaseRequest, bytes_max: int) -> bytes:
        body = bytearray()
        try:
            async for chunk in request.content.iter_any():
                body += chunk
                self._reading_bytes += len(chunk)
                if len(body) > bytes_max:
                    raise _too_large(bytes_max)
                if self._reading_bytes > self._limits.bodies_bytes_max:
                    raise _overloaded()
        finally:
            self._reading_bytes -= len(body)
        return bytes(body)


def _overloaded() -> Refusal:
    return Refusal(Code.OVERLOADED, "Too much is being sent at once; try again.")


def _too_large(bytes_max: int) -> Refusal:
    return Refusal(Code.PAYLOAD_TOO_LARGE, f"The body may have {bytes_max} bytes at most.")


def _require_known_expectation(request: web.BaseRequest) -> None:
    if request.headers.get(hdrs.EXPECT, _EXPECT_CONTINUE).lower() != _EXPECT_CONTINUE:
        raise Refusal(Code.EXPECTATION_FAILED, "Only Expect: 100-continue is understood.")


async def _continue(request: web.BaseRequest) -> None:
    """Ask for the body if the client waits to be asked (curl does, past 1 MiB)."""
    if hdrs.EXPECT in request.headers and request.version == HttpVersion11:
        await request.writer.write(CONTINUE)
        request.writer.output_size = 0  # aiohttp counts it as the answer's start otherwise
