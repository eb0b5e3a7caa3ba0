"""Reading a request's body: bounded in size, alone and with all others, and in time."""

import asyncio
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ingest.errors import Code, Refusal
from ingest.http.budget import Share, too_large

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECT_CONTINUE: Final = "100-continue"


class BodyReader:
    """Reads the bodies of all requests of aiohttp's lane."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def read(self, request: web.BaseRequest, bytes_max: int, held: Share) -> bytes:
        """Return the body, and hold it; the length that a client announces is checked before."""
        if (request.content_length or 0) > bytes_max:
            raise too_large(bytes_max)
        _require_known_expectation(request)
        if request.content.is_eof():  # all of it came with the head: no time-out to arm
            body = request.content.read_nowait()
            if len(body) > bytes_max:
                raise too_large(bytes_max)
            held.resize(len(body))
            return body
        try:
            async with asyncio.timeout(self._timeout_s):
                await _continue(request)
                return await _read_slowly(request, bytes_max, held)
        except TimeoutError:
            raise Refusal(
                Code.REQUEST_TIMEOUT, "The request's body did not arrive in time."
            ) from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            # A malformed chunk, or a client that went away in the middle of its body.
            raise Refusal(Code.BAD_REQUEST, "The request's body is not well-formed.") from None


async def _read_slowly(request: web.BaseRequest, bytes_max: int, held: Share) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            raise too_large(bytes_max)
        held.resize(len(body))
    return bytes(body)


def _require_known_expectation(request: web.BaseRequest) -> None:
    expected = request.headers.getall(hdrs.EXPECT, ())
    if any(each.lower() != _EXPECT_CONTINUE for each in expected):
        raise Refusal(Code.EXPECTATION_FAILED, "Only Expect: 100-continue is understood.")


async def _continue(request: web.BaseRequest) -> None:
    """Ask for the body if the client waits to be asked (curl does, past 1 MiB)."""
    if hdrs.EXPECT in request.headers and request.version == HttpVersion11:
        await request.writer.write(CONTINUE)
        request.writer.output_size = 0  # aiohttp counts it as the answer's start otherwise
