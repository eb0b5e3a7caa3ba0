"""HTTP/2 that a client begins without asking: declined in its own frames, so that it understands.

RFC 9113: a server's first frame is SETTINGS; GOAWAY says why nothing is served, and that no stream
was. A proxy or client that sees HTTP_1_1_REQUIRED knows what to speak instead.
"""

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What such a client sends first."""

_SETTINGS, _GOAWAY = 4, 7
_HTTP_1_1_REQUIRED: Final = 13
_REASON: Final = b"Speak HTTP/1.1."


def _frame(kind: int, payload: bytes) -> bytes:
    """Return a frame of the whole connection, without flags."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, 0, 0) + payload


DECLINED: Final = _frame(_SETTINGS, b"") + _frame(
    _GOAWAY, struct.pack(">II", 0, _HTTP_1_1_REQUIRED) + _REASON
)
"""What it is answered; the end of the connection follows."""
