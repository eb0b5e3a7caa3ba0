"""A record in shared memory: bytes that one process writes whole and all others read whole.

There are two copies, written in turn. A sequence number names the one that is whole; it is raised
behind the other one's last byte. So a writer that is killed in the middle, or stopped there for
ever, leaves the last good copy to read, and nobody waits for it. A reader that a writer has
overtaken twice meanwhile, or to whom a processor shows the writes in another order, sees that by
the copy's own number and checksum, and reads again.
"""

import struct
import zlib
from typing import Final

_HEAD: Final = struct.Struct("=QII")
"""A copy's sequence number, the length of what follows, and its checksum."""
_SEQUENCE_BYTES: Final = 8
_TRIES_MAX: Final = 64
"""A writer comes back some dozens of times a second, and a copy takes a microsecond to read."""


class Record:
    """Up to `bytes_max` bytes; empty until something is written."""

    def __init__(self, memory: memoryview) -> None:
        self._sequence = memory[:_SEQUENCE_BYTES].cast("Q")
        size = (len(memory) - _SEQUENCE_BYTES) // 2
        self._copies = (memory[_SEQUENCE_BYTES:][:size], memory[_SEQUENCE_BYTES + size :][:size])
        self.bytes_max = size - _HEAD.size
        self._last = b""

    @property
    def sequence(self) -> int:
        """How many times it was written: whoever sees the same number twice has missed nothing."""
        return self._sequence[0]

    def write(self, value: bytes) -> None:
        """Replace what is read; only one process may do so. Raises ValueError if it is too long."""
        if len(value) > self.bytes_max:
            raise ValueError(f"{len(value)} bytes are more than {self.bytes_max}")
        sequence = self._sequence[0] + 1
        copy = self._copies[sequence % 2]
        _HEAD.pack_into(copy, 0, sequence, len(value), zlib.crc32(value, sequence & 0xFFFFFFFF))
        copy[_HEAD.size : _HEAD.size + len(value)] = value
        self._sequence[0] = sequence

    def read(self) -> bytes:
        """Return what was written last; should that never be whole, what was read here last."""
        for _ in range(_TRIES_MAX):
            value = self._read(self._sequence[0])
            if value is not None:
                self._last = value
                break
        return self._last

    def _read(self, sequence: int) -> bytes | None:
        if not sequence:
            return b""
        copy = self._copies[sequence % 2]
        number, length, checksum = _HEAD.unpack_from(copy)
        if number != sequence or length > self.bytes_max:
            return None
        value = bytes(copy[_HEAD.size : _HEAD.size + length])
        return value if zlib.crc32(value, sequence & 0xFFFFFFFF) == checksum else None
