"""Whose request it is: the API key in a header, or, where the operator allows it, in the query.

The header is `X-API-Key`, or `Authorization` with the scheme Bearer (RFC 6750), for which every
HTTP client has a field. A key may be limited to pages of some origins, and it, or its app, to so
much at a time; which events it may send, and how many these are, is seen when they are read.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import hdrs, web

from ingest.errors import Code, Refusal
from ingest.http.limited_keys import require_open, require_origin
from ingest.share.refusals import NOBODYS
from ingest.store.api_keys import Kind
from ingest.store.apps import App
from ingest.store.keyring import Grant, Keyring

API_KEY: Final = "X-API-Key"
APP: Final = web.RequestKey("app", App)
"""Where a request keeps whose it is, for the log of requests."""
_BEARER: Final = "bearer"
_PARAMETER: Final = "&key="
_HEADERS: Final = f"{API_KEY}, or in {hdrs.AUTHORIZATION} as Bearer {Kind.WRITE.start}…"


class Authenticator:
    """Finds the app of a request. No message of its ever repeats a key or a query."""

    def __init__(self, keyring: Keyring, *, key_in_query: bool = False) -> None:
        self._keyring = keyring
        self.takes_query = key_in_query
        """Whether a key may stand in the query."""
        self._place = f"{_HEADERS}, or in the query as key=…" if key_in_query else _HEADERS

    def grant_of(self, request: web.BaseRequest) -> Grant:
        """Return what the request's key opens to the page that sends it; raise Refusal."""
        return self.open(request, self._secrets_of(request))

    def open(self, request: web.BaseRequest, secrets: Sequence[str]) -> Grant:
        """Return what a key that was found in a request opens, as `grant_of` does."""
        if not any(secrets):
            raise Refusal(Code.MISSING_API_KEY, f"Send your API key in {self._place}.")
        # Two keys are refused even if both are valid: proxies and servers would differ on which.
        grant = self._keyring.grant_of(secrets[0]) if len(secrets) == 1 else None
        if grant is None:
            raise Refusal(
                Code.INVALID_API_KEY, f"{_why_not(secrets[0])}; send one in {self._place}."
            )
        request[APP] = grant.app
        if grant.limits is not None:
            require_origin(grant.limits, request)
        require_open(grant)
        return grant

    def _secrets_of(self, request: web.BaseRequest) -> list[str]:
        given = [*request.headers.getall(API_KEY, ())]
        if self.takes_query:
            given += keys_in(request.rel_url.raw_query_string)
        return with_bearers(given, request.headers.getall(hdrs.AUTHORIZATION, ()))


def app_id_of(request: web.BaseRequest) -> int:
    """Return whose a request was found to be; NOBODYS if its key is not known to be one."""
    app = request.get(APP)
    return app.id if app else NOBODYS


def with_bearers(given: Sequence[str], authorizations: Iterable[str]) -> list[str]:
    """Return the keys that were given elsewhere, and those in headers `Authorization`.

    Beside another key a token is a gateway's own, unless it begins as our keys do.
    """
    tokens = (token for token in map(_token_of, authorizations) if token)
    return [*given, *(token for token in tokens if not given or token.startswith(Kind.WRITE.start))]


def _token_of(authorization: str) -> str:
    scheme, _, token = authorization.strip(" \t").partition(" ")
    return token.strip(" ") if scheme.lower() == _BEARER else ""


def keys_in(query: str) -> list[str]:
    """Return every `key=` of a query, as it was sent: a key has no character to be escaped."""
    _, *behind = f"&{query}".split(_PARAMETER)
    return [text.partition("&")[0] for text in behind]


def _why_not(secret: str) -> str:
    """Say what is wrong with what opens nothing."""
    if secret.startswith(Kind.READ.start):
        return f"A key that begins with {Kind.READ.start} reads, and can't send events"
    return "The API key is not valid"
