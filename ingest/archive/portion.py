"""How many rows are taken at once, where what they take in memory can only be tried."""

from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from ingest.archive.failures import OutOfMemory

log = structlog.get_logger(__name__)

_ROWS_MIN: Final = 100
_FITTED_ENOUGH: Final = 20

T = TypeVar("T")


class Portion:
    """How many rows are taken at once: fewer while memory is short, and in time more again."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = self._rows = rows_max
        self._done = 0
        """How often so many fitted."""

    def do(self, work: Callable[[int], T]) -> T:
        """Return what comes of work on so many rows as fit; raise OutOfMemory if even few don't."""
        while True:
            try:
                result = work(self._rows)
            except OutOfMemory as trouble:
                self._cut(trouble)
            else:
                self._recover()
                return result

    def _cut(self, trouble: OutOfMemory) -> None:
        if self._rows <= _ROWS_MIN:
            raise trouble
        self._rows, self._done = max(_ROWS_MIN, self._rows // 2), 0
        log.info("memory is short: less is taken at once", rows=self._rows, reason=str(trouble))

    def _recover(self) -> None:
        self._done += 1
        if self._done >= _FITTED_ENOUGH and self._rows < self._rows_max:
            self._rows, self._done = min(self._rows_max, self._rows * 2), 0
