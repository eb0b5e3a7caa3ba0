"""The header `Idempotency-Key`: what marks an event for a client that can't make ids.

A draft of the IETF writes it as a string in quotes, everybody sends it bare: here it is any text,
taken as it is, so one client's quotes are part of its keys.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from ingest.errors import Code, Refusal

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
CHARS_MAX: Final = 255

_KEY: Final = re.compile(rf"[\x20-\x7e]{{1,{CHARS_MAX}}}")
_DIGEST_BYTES: Final = 16


def digest_of(fields: Sequence[str]) -> bytes | None:
    """Return 16 bytes that stand for the key in these headers; None when there is no header.

    They are the beginning of its SHA-256: keys of any length cost the same to keep, and two of them
    do not collide. Raises Refusal.
    """
    if not fields:
        return None
    key = fields[0].strip(" \t")
    if len(fields) > 1 or not _KEY.fullmatch(key):
        raise Refusal(
            Code.INVALID_IDEMPOTENCY_KEY,
            f"Send one {IDEMPOTENCY_KEY} of 1 to {CHARS_MAX} printable ASCII characters.",
        )
    return hashlib.sha256(key.encode()).digest()[:_DIGEST_BYTES]
