"""What a key with limits is held to: pages, names of events, and how much at a time.

Only aiohttp's lane meets keys for some pages or names: the fast lane knows none of them.
"""

from aiohttp import hdrs, web

from ingest.errors import Code, Refusal
from ingest.store.key_limits import KeyLimits
from ingest.store.keyring import Grant


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


def require_open(grant: Grant) -> None:
    """Raise Refusal for a request over a limit, before its body is read."""
    if grant.allowance is not None and not grant.allowance.is_open():
        raise grant.allowance.refusal()


def require_allowed(grant: Grant, events: int, size: int) -> None:
    """Count what a request brings, with the bytes of its body; raise Refusal if it is too much.

    What is let in counts, whatever becomes of it: an event that is refused for another reason costs
    as much, and a retry is a request.
    """
    if grant.allowance is not None and not grant.allowance.take(events, size):
        raise grant.allowance.refusal()
