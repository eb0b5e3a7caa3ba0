"""Answers that are kept: by the question and by what was there to answer it.

With a mark of the archive that is all there is, an answer stays right for ever; what keeps it from
growing is a bound in bytes, beyond which the one that was not asked for longest goes. A file's menu
is kept by the file's name, since files never change.
"""

from collections import OrderedDict
from collections.abc import Hashable

import msgspec

from ingest.insights.answers import Answer

Key = tuple[Hashable, ...]


class Answers:
    """Answers by their keys, up to so many bytes of JSON."""

    def __init__(self, bytes_max: int) -> None:
        """Begin with none."""
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[Key, tuple[Answer, int]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """How many bytes all that is kept would be as JSON."""
        return self._bytes

    def get(self, key: Key) -> Answer | None:
        """Return an answer that is kept."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: Key, answer: Answer) -> None:
        """Keep an answer, unless it is larger than all there is room for."""
        self._drop(key)
        size = len(msgspec.json.encode(answer))
        if size > self._bytes_max:
            return
        while self._bytes + size > self._bytes_max:
            self._drop(next(iter(self._kept)))
        self._kept[key] = (answer, size)
        self._bytes += size

    def _drop(self, key: Key) -> None:
        _, size = self._kept.pop(key, (None, 0))
        self._bytes -= size
