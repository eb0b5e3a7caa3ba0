"""New connections at a listening socket, kept out for the moment before a server ends.

A socket that closes resets whoever has connected and was not accepted yet, and a proxy that has
sent its request by then can't tell whether it was served. So the kernel drops further SYNs first:
those clients have sent nothing, try again by themselves, and are refused in good order then.

This changes the socket itself, which other processes may have as well: for a whole server's end,
never for one process of it that another one replaces.
"""

import select
import socket
import struct
import sys
from array import array
from contextlib import suppress
from typing import Final

_SO_ATTACH_FILTER: Final = 26
_FLAGS_AT: Final = 13
"""Where a TCP header has its flags."""
_SYN: Final = 0x02
_LOAD_BYTE, _JUMP_IF_ANY, _RETURN = 0x30, 0x45, 0x06
_WHOLE: Final = 0xFFFFFFFF
_PROGRAM: Final = (  # code, jump if true, jump if false, operand
    (_LOAD_BYTE, 0, 0, _FLAGS_AT),
    (_JUMP_IF_ANY, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, _WHOLE),
)
"""Classic BPF: drop what has SYN set, keep the rest."""


def has_waiting(listening: socket.socket) -> bool:
    """Return whether anybody has connected and is not accepted yet."""
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))


def drop_further(listening: socket.socket) -> None:
    """Have the kernel drop every SYN from now on, where it can; handshakes that began go on."""
    if not sys.platform.startswith("linux"):
        return
    code = array("B", b"".join(struct.pack("HBBI", *each) for each in _PROGRAM))
    address, _ = code.buffer_info()
    with suppress(OSError):  # such as a sandbox's kernel: somebody may be reset then
        listening.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HP", len(_PROGRAM), address),
        )
