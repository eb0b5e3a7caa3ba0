"""A guard: one server an address, though the kernel would let two of one user share it in silence.

`SO_REUSEPORT` lets any socket of the same user join those that listen, and sockets that don't
listen yet don't see each other at all. So a server holds a name for each of its addresses, from
before it binds: an abstract unix socket, which the kernel takes away with the process, and which no
worker inherits.
"""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ingest.addresses import Tcp, Unix, overlap

_SOCKETS: Final = Path("/proc/self/net/unix")
_DIGEST_CHARS: Final = 32  # the whole name has 107 bytes at most


def take(address: Tcp | Unix) -> socket.socket | None:
    """Hold the address until what is returned is closed; raise OSError if it is held already.

    None where the kernel has no abstract names.
    """
    if not sys.platform.startswith("linux"):
        return None
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(_name(address))
        if isinstance(address, Tcp) and any(overlap(address, each) for each in _others(address)):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    except BaseException:
        held.close()
        raise
    return held


def _name(address: Tcp | Unix) -> str:
    if isinstance(address, Tcp):
        return f"{_prefix()}{address.port}/{address.host}"
    # A directory is known by many names.
    place = Path(address.path)
    directory = place.parent.stat()
    import hashlib  # noqa: PLC0415 - it brings OpenSSL along, which who listens by TCP alone spares

    name = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:_DIGEST_CHARS]
    return f"{_prefix()}unix/{directory.st_dev}-{directory.st_ino}/{name}"


def _prefix() -> str:
    return f"\0nonito/{os.getuid()}/"  # another user's sockets the kernel keeps apart itself


def _others(address: Tcp) -> Iterator[Tcp]:
    """Yield what other servers hold of the same port."""
    prefix = f"@{_prefix()[1:]}{address.port}/"
    try:
        lines = _SOCKETS.read_text(errors="replace").splitlines()
    except OSError:  # a sandbox without it
        return
    for line in lines:
        _, found, host = line.partition(prefix)
        if found and host != address.host:
            yield Tcp(host, address.port)
