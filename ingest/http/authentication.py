"""Whose request it is: the API key in a header, or, where the operator allows it, in the query."""

from typing import Final

from aiohttp import web

from ingest.errors import Code, Refusal
from ingest.store.apps import App
from ingest.store.keyring import Keyring

API_KEY: Final = "X-API-Key"
_PARAMETER: Final = "&key="


class Authenticator:
    """Finds the app of a request. No message of its ever repeats a key or a query."""

    def __init__(self, keyring: Keyring, *, key_in_query: bool = False) -> None:
        self._keyring = keyring
        self.takes_query = key_in_query
        """Whether a key may stand in the query."""
        self._place = f"{API_KEY}, or in the query as key=…" if key_in_query else API_KEY

    def app_of(self, request: web.BaseRequest) -> App:
        """Return the app that the request's key belongs to; raise Refusal."""
        secrets = [*request.headers.getall(API_KEY, ())]
        if self.takes_query:
            secrets += keys_in(request.rel_url.raw_query_string)
        if not any(secrets):
            raise Refusal(Code.MISSING_API_KEY, f"Send your API key in {self._place}.")
        # Two keys are refused even if both are valid: proxies and servers would differ on which.
        app = self._keyring.app_of(secrets[0]) if len(secrets) == 1 else None
        if app is None:
            raise Refusal(
                Code.INVALID_API_KEY, f"The API key is not valid; send one in {self._place}."
            )
        return app


def keys_in(query: str) -> list[str]:
    """Return every `key=` of a query, as it was sent: a key has no character to be escaped."""
    _, *behind = f"&{query}".split(_PARAMETER)
    return [text.partition("&")[0] for text in behind]
