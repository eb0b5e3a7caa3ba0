"""Where SDKs have the key in the head: as Basic's user, as Bearer, in a header of their own."""

import base64
from typing import Final

from aiohttp import hdrs, web

from ingest.http.authentication import API_KEY, with_bearers

OPENPANEL_CLIENT: Final = "openpanel-client-id"
_BASIC: Final = "basic"


def keys_of(request: web.BaseRequest) -> list[str]:
    """Return the keys in a request's head, each once."""
    headers = request.headers
    authorizations = headers.getall(hdrs.AUTHORIZATION, ())
    given = [*headers.getall(API_KEY, ()), *headers.getall(OPENPANEL_CLIENT, ())]
    given += [user for each in authorizations if (user := _user_of(each))]
    return list(dict.fromkeys(with_bearers(given, authorizations)))


def _user_of(authorization: str) -> str:
    scheme, _, encoded = authorization.strip(" \t").partition(" ")
    if scheme.lower() != _BASIC:
        return ""
    try:
        decoded = base64.b64decode(encoded.strip(" "), validate=True).decode()
    except ValueError:  # not of base64's letters, or not of UTF-8
        return ""
    return decoded.partition(":")[0]
