"""What to do about a refusal, where its message is for who knows how HTTP works."""

from collections.abc import Mapping
from typing import Final

from ingest.errors import Code

_ADVICE: Final[Mapping[str, str]] = {
    Code.MISSING_API_KEY: "The request came without a key: send it as X-API-Key.",
    Code.INVALID_API_KEY: (
        "The key is not one of this server, or was revoked, or has expired. A key that is lost "
        "can't be shown again: make another one."
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: (
        "With curl, send -H 'Content-Type: application/json': it says something else by itself."
    ),
    Code.INVALID_JSON: (
        "In a shell, put the whole JSON in single quotes; on Windows, in double quotes, and write "
        'each one within as \\".'
    ),
    Code.TOO_MANY_REQUESTS: (
        "An owner of the app says how much may be sent, on its page of limits. Most clients send "
        "it again by themselves."
    ),
    Code.OVERLOADED: "The server had no room. It is sent again a second later by most clients.",
    Code.SHUTTING_DOWN: "The server was being restarted. Send it again.",
}


def advice_of(code: str) -> str:
    """Return it; empty where the message says it all."""
    return _ADVICE.get(code, "")
