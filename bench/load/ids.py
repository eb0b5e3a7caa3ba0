"""Ids as clients make them for their events."""

import uuid
from random import Random


def uuid7(unix_s: float, random: Random) -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562)."""
    bits = int(unix_s * 1000) << 80 | random.getrandbits(80)
    bits = bits & ~(0xF << 76) | 7 << 76
    return uuid.UUID(int=bits & ~(0x3 << 62) | 2 << 62)
