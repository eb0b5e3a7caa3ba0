"""The cookie that holds a session's token: no script reads it, no other site sends it along."""

from typing import Final

from aiohttp import hdrs, web

from ingest.web.address import origin_of

_NAME: Final = "nonito_session"
_PREFIX: Final = "__Host-"
"""By which a browser takes it over TLS alone, and from this very host."""
_SECONDS: Final = 30 * 86_400
_TOKEN_CHARS_MAX: Final = 100


def read(request: web.BaseRequest) -> str | None:
    """Return the token that a browser has; None without one."""
    found = [
        value.strip()
        for header in request.headers.getall(hdrs.COOKIE, ())
        for name, _, value in (pair.partition("=") for pair in header.split(";"))
        if name.strip() == _name(request)
    ]
    return found[0] if len(found) == 1 and 0 < len(found[0]) <= _TOKEN_CHARS_MAX else None


def keep(request: web.BaseRequest, token: str) -> str:
    """Return the header by which a browser keeps a token."""
    return _header(request, token, _SECONDS)


def drop(request: web.BaseRequest) -> str:
    """Return the header by which a browser drops it."""
    return _header(request, "", 0)


def _header(request: web.BaseRequest, value: str, seconds: int) -> str:
    secure = "; Secure" if _is_secure(request) else ""
    return f"{_name(request)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _name(request: web.BaseRequest) -> str:
    return f"{_PREFIX if _is_secure(request) else ''}{_NAME}"


def _is_secure(request: web.BaseRequest) -> bool:
    return origin_of(request).startswith("https:")
