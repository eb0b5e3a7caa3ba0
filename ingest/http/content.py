"""What a body is, by its headers: its media type, its charset, and how it is encoded."""

import re
from typing import Final

from aiohttp import hdrs, web

from ingest.errors import Code, Refusal
from ingest.http.responses import JSON

NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"
"""What a browser sends to another origin without asking first."""

_LINES: Final = frozenset(
    {
        NDJSON,
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
    }
)
"""None of these names is registered, and all are in use for the same."""
_KIND_OF_JSON: Final = re.compile(r"application/[!#$&^_.+0-9a-z-]+\+json")
"""A structured syntax suffix (RFC 6839, 3.1)."""
_UTF_8: Final = frozenset({"utf-8", "utf8"})
_IDENTITY: Final = "identity"


def media_type_of(request: web.BaseRequest) -> str:
    """Return JSON, NDJSON or TEXT for all that go by other names too; "" if none is given.

    Raises Refusal for a charset that is not UTF-8: to take its bytes for UTF-8 would change texts.
    """
    if hdrs.CONTENT_TYPE not in request.headers:
        return ""
    charset = request.charset
    if charset and charset.lower() not in _UTF_8:
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body in UTF-8, or without a charset.")
    given = request.content_type
    if given in _LINES:
        return NDJSON
    return JSON if _KIND_OF_JSON.fullmatch(given) else given


def encoding_of(request: web.BaseRequest) -> str:
    """Return what Content-Encoding names, "" for nothing; several, in one line or more, listed."""
    named = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())).lower().split(",")
    codings = [coding for each in named if (coding := each.strip(" \t"))]
    return ", ".join(coding for coding in codings if coding != _IDENTITY)
