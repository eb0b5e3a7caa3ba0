"""Secrets that are made here, told once, and kept as their SHA-256 alone."""

import hashlib
import secrets
from typing import Final

_BYTES: Final = 32


def new() -> str:
    """Return 256 random bits, in letters that an address and a cookie may have."""
    return secrets.token_urlsafe(_BYTES)


def digest(token: str) -> bytes:
    """Return what a token is stored and looked up by."""
    # A request may hold any bytes; those that are no UTF-8 come as surrogates and match no token.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
