"""What a serving process asks of the machine before it begins."""

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGE_BYTES: Final = 1 << 20
_SPARE_BYTES: Final = 8 << 20


def return_large_blocks() -> None:
    """Have memory of 1 MiB and more given back as soon as it is free.

    By itself glibc learns from a body of 16 MiB to cut the next ones out of its heap, where what is
    behind one keeps it: clients that read no answers then cost 146 MB, not 85. What smaller blocks
    leave at the heap's end is kept up to 8 MiB, so that no batch asks the kernel for it anew.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # another libc may have none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _SPARE_BYTES)
