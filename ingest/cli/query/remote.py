"""A question that is asked of a server's query API, over HTTP; its key is in a header alone."""

import asyncio
import os
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import hdrs
from yarl import URL  # what aiohttp takes for an address

from ingest.api.readers import API_KEY
from ingest.cli.query.inquiry import Inquiry
from ingest.cli.table import printable
from ingest.errors import StartupError

_OK: Final = 200
_CONNECT_TIMEOUT_S: Final = 10.0
_SPARE_S: Final = 5.0
"""A server says itself that something takes too long, if it is let."""
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_MAKE: Final = "nonito keys create --app NAME --read makes one"


class _Error(msgspec.Struct):
    code: str
    message: str


class _Refusal(msgspec.Struct):
    """The one shape of all our errors."""

    error: _Error


class _Answer(msgspec.Struct):
    status: int
    body: bytes


def ask(server: str, key: str, timeout_s: float, inquiry: Inquiry) -> bytes:
    """Return the answer as JSON, within `timeout_s` and a little; raise StartupError."""
    _require_key(key)
    url = URL(f"{_base(server)}{inquiry.address}", encoded=True)  # a person may be called ".."
    try:
        answer = asyncio.run(_get(url, key, timeout_s + _SPARE_S))
    except TimeoutError:
        raise StartupError(f"{_shown(server)} does not answer in time") from None
    except (aiohttp.ClientError, OSError) as error:
        raise StartupError(f"{_shown(server)} does not answer: {_reason(error)}") from error
    if answer.status != _OK:
        raise _refused(server, answer, inquiry)
    return answer.body


def _require_key(key: str) -> None:
    """Raise StartupError for what can't be a key; nothing of it is repeated."""
    if not key:
        raise StartupError(f"a server is asked with a key: --key, or NONITO_READ_KEY; {_MAKE}")
    if not (key.isascii() and key.isprintable()):
        raise StartupError(f"what is given as a key is none; {_MAKE}")


def _base(server: str) -> str:
    """Return an address without a slash at its end; raise StartupError for what is none."""
    try:
        parts = urlsplit(server)
        is_fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_fine = False
    if not is_fine or not server.isascii() or not server.isprintable() or set(server) & set(" ?#@"):
        raise StartupError("--server: write an address as http://127.0.0.1:8081, without a key")
    return server.rstrip("/")


async def _get(url: URL, key: str, timeout_s: float) -> _Answer:
    """Ask once. No other address is gone to: the key is not for it."""
    timeout = aiohttp.ClientTimeout(total=timeout_s, connect=_CONNECT_TIMEOUT_S)
    headers = {API_KEY: key, hdrs.ACCEPT_ENCODING: "identity"}
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, headers=headers, allow_redirects=False) as response,
    ):
        return _Answer(response.status, await _read(response))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > _ANSWER_BYTES_MAX:
            raise StartupError("the answer is longer than 64 MiB; ask for less")
    return bytes(body)


def _refused(server: str, answer: _Answer, inquiry: Inquiry) -> StartupError:
    """Return what a server says; of somebody who speaks otherwise, such as a proxy, the status."""
    try:
        error = msgspec.json.decode(answer.body, type=_Refusal).error
    except msgspec.DecodeError:
        return StartupError(f"{_shown(server)} answers {answer.status}: is that a query API?")
    return inquiry.refused(error.code, error.message)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return printable(str(error)) or "what it says is no HTTP"


def _shown(server: str) -> str:
    return printable(server)
