"""Patience with others who change what the archive holds: one at a time does."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from ingest.archive.failures import Occupied, Overtaken

T = TypeVar("T")

_PATIENCE_S: Final = 120.0
_RETRY_S: Final = 0.2


def patiently(work: Callable[[], T]) -> T:
    """Call something until it gets its turn: a server may archive too, one of both at a time."""
    end_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return work()
        except (Occupied, Overtaken):
            if time.monotonic() > end_s:
                raise
            time.sleep(_RETRY_S)
