"""Who asks: the app whose read key a request has. What is asked is of that app, and no other."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from ingest.api.refusals import Code, Refused
from ingest.store.api_keys import Kind
from ingest.store.app_settings import AppSettings
from ingest.store.failures import Unavailable
from ingest.store.tokens import digest

API_KEY: Final = "X-API-Key"
_BEARER: Final = "bearer"
_PLACE: Final = f"in {API_KEY}, or in {hdrs.AUTHORIZATION} as Bearer {Kind.READ.start}…"
_MAKE: Final = "nonito keys create --app NAME --read makes one"
_KNOWN_S: Final = 1.0
"""So long a key that was found is valid without being looked up again."""
_KNOWN_MAX: Final = 1_000

Find = Callable[[str], Awaitable[AppSettings | None]]
"""Looks a secret up. Raises Unavailable."""


FindEraser = Callable[[bytes], Awaitable[str | None]]
"""Looks up, by its digest, what a key begins with that may erase people. Raises Unavailable."""


class Lookup(NamedTuple):
    """How keys are looked up."""

    find: Find
    find_eraser: FindEraser


class Reader(NamedTuple):
    """Whose question it is."""

    app: AppSettings
    key: bytes
    """The digest of the key, by which its questions are counted."""


class _Known(NamedTuple):
    app: AppSettings
    until_s: float


class Readers:
    """Knows keys for a moment. No message of its ever repeats one."""

    def __init__(self, lookup: Lookup) -> None:
        self._find, self._find_eraser = lookup
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._finding = asyncio.Lock()
        """One is looked up at a time: keys that nobody has cost one connection at most."""

    async def reader_of(self, request: web.BaseRequest) -> Reader:
        """Return whose question a request is; raise Refused."""
        secret = _secret_of(request)
        key = digest(secret)
        app = self._recall(key) or await self._look_up(secret, key)
        if app is None:
            raise Refused(Code.INVALID_API_KEY, f"The API key is not valid; send one {_PLACE}.")
        return Reader(app, key)

    async def eraser_of(self, reader: Reader) -> str:
        """Return what the key of a reader begins with if it may erase people; raise Refused."""
        try:
            found = await self._find_eraser(reader.key)
        except Unavailable:
            raise _away() from None
        if found is None:
            raise Refused(
                Code.MAY_NOT_ERASE,
                "This key reads and may not erase; nonito keys create --app NAME --read --may-erase"
                " makes one that may.",
            )
        return found

    def _recall(self, key: bytes) -> AppSettings | None:
        known = self._known.get(key)
        return known.app if known is not None and known.until_s > time.monotonic() else None

    async def _look_up(self, secret: str, key: bytes) -> AppSettings | None:
        async with self._finding:
            if (app := self._recall(key)) is not None:
                return app
            try:
                app = await self._find(secret)
            except Unavailable:
                raise _away() from None
        if app is not None:
            self._known[key] = _Known(app, time.monotonic() + _KNOWN_S)
            self._known.move_to_end(key)
            if len(self._known) > _KNOWN_MAX:
                self._known.popitem(last=False)
        return app


def _away() -> Refused:
    return Refused(Code.UNAVAILABLE, "Postgres can't be asked now.", retry_after_s=1)


def _secret_of(request: web.BaseRequest) -> str:
    given: list[str] = [
        *request.headers.getall(API_KEY, ()),
        *filter(None, map(_token_of, request.headers.getall(hdrs.AUTHORIZATION, ()))),
    ]
    if not any(given):
        raise Refused(Code.MISSING_API_KEY, f"Send a key that reads {_PLACE}; {_MAKE}.")
    if len(given) > 1:  # whose would it be?
        raise Refused(Code.INVALID_API_KEY, f"Send one key alone, {_PLACE}.")
    if given[0].startswith(Kind.WRITE.start):
        raise Refused(
            Code.WRONG_KIND_OF_KEY,
            f"This key sends events and can't read; one that reads begins with {Kind.READ.start}: "
            f"{_MAKE}.",
        )
    return given[0]


def _token_of(authorization: str) -> str:
    scheme, _, token = authorization.strip(" \t").partition(" ")
    return token.strip(" ") if scheme.lower() == _BEARER else ""
