"""What a key with limits is held to: the page that a request comes from, and its events' names.

Only aiohttp's lane meets such keys: to the fast lane they are none that it knows.
"""

from aiohttp import hdrs, web

from ingest.errors import Code, Refusal
from ingest.store.key_limits import KeyLimits


def require_origin(limits: KeyLimits, request: web.BaseRequest) -> None:
    """Raise Refusal for a page that is none of the key's, and where no browser says which it is."""
    origins = request.headers.getall(hdrs.ORIGIN, ())
    if not limits.origins or (len(origins) == 1 and limits.allow_origin(origins[0])):
        return
    raise Refusal(
        Code.ORIGIN_NOT_ALLOWED,
        "This API key is for pages of certain origins, and this page is of none of them."
        if origins
        else f"This API key is for pages in a browser, which sends {hdrs.ORIGIN}; this request has"
        " none. Send from elsewhere with a key that has no such limit.",
    )


def refusal_of(limits: KeyLimits, name: str) -> Refusal | None:
    """Return the refusal of an event that has this name; None for one that may be sent."""
    if limits.allow_event(name):
        return None
    return Refusal(
        Code.EVENT_NAME_NOT_ALLOWED,
        "This API key is for events of certain names, and this name is none of them.",
    )


def require_name(limits: KeyLimits, name: str) -> None:
    """Raise Refusal for an event that may not be sent."""
    if (refusal := refusal_of(limits, name)) is not None:
        raise refusal
