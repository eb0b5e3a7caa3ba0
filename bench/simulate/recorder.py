"""The audit's recorder, which keeps the history of a simulated run in memory."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.audit import history, recorder
from bench.audit.history import History, Window

if TYPE_CHECKING:
    from bench.audit.excuses import Excuses


class MemoryRecorder(recorder.Recorder):
    """Writes the same lines, and keeps what excuses which answer."""

    def __init__(self) -> None:  # the base class would open a file
        self.path = Path()
        self.counts = Counter()
        self.watched = None
        self.lasting = set()
        self.excuses: Excuses = {}
        self._lines: list[bytes] = []
        self._windows: list[Window] = []

    def excuse(self, codes: frozenset[str], begin_s: float, end_s: float) -> None:
        """Allow these answers, or whatever the audit's excuses are about, in a span of time."""
        name = ",".join(sorted(codes))
        self.excuses[name] = codes
        self._windows.append(Window(name, int(begin_s * 1e9), int(end_s * 1e9)))

    def history(self) -> History:
        """Return what was noted."""
        found = history.parse(b"".join(self._lines))
        found.windows = self._windows
        return found

    def _write(self, kind: str, *fields: str | bytes) -> None:
        encoded = (field.encode() if isinstance(field, str) else field for field in fields)
        head = f"{kind}\t{time.monotonic_ns()}".encode()
        self._lines.append(b"\t".join((head, *encoded)) + b"\n")
