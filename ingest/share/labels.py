"""A table of apps' labels that all processes of a server share: it only grows.

A label has the same place in each of them and outlives them, so what they count by its place can
be added up, and no counter of a label goes down.
"""

from collections.abc import Mapping
from typing import Final

from ingest.share.byte_lock import ByteLock

LABELS_MAX: Final = 50
CHARS_MAX: Final = 100
_PLACE_BYTES: Final = 512
"""An app's number, the length of its label, and the label: of four bytes a character at most."""
BYTES: Final = (1 + LABELS_MAX) * _PLACE_BYTES


class Labels:
    """The labels of the first so many apps; a process's own copy of the table follows it."""

    def __init__(self, memory: memoryview, descriptor: int, offset: int) -> None:
        """Use a place in a file's memory; its first byte there is the one that is locked."""
        self._memory = memory
        self._lock = ByteLock(descriptor, offset)
        self._count = memory[:8].cast("Q")
        self._places: dict[int, int] = {}
        self._texts: list[str] = []

    @property
    def texts(self) -> list[str]:
        """Every label, by its place; two apps may have the same."""
        self._follow()
        return list(self._texts)

    def text_of(self, app_id: int) -> str:
        """Return an app's label; of one that has none, its number."""
        self._follow()
        place = self._places.get(app_id)
        return str(app_id) if place is None else self._texts[place]

    def place_of(self, app_id: int) -> int:
        """Return the place of an app's label; LABELS_MAX for one that has none."""
        return self._places.get(app_id, LABELS_MAX)

    def learn(self, apps: Mapping[int, str]) -> bool:
        """Give labels to apps that have none, in the order of their numbers, while there is room.

        Returns False where another process has held the table for too long: to be tried again.
        """
        self._follow()
        if self._is_full or not apps.keys() - self._places.keys():
            return True
        with self._lock.held() as is_locked:
            if not is_locked:
                return False
            self._follow()
            for app_id in sorted(apps.keys() - self._places.keys()):
                self._append(app_id, apps[app_id][:CHARS_MAX])
        return True

    @property
    def _is_full(self) -> bool:
        return len(self._texts) >= LABELS_MAX

    def _follow(self) -> None:
        """Read what others have appended."""
        for place in range(len(self._texts), self._count[0]):
            head, text = self._place(place)
            self._places[head[0]] = place
            self._texts.append(bytes(text[: head[1]]).decode())

    def _append(self, app_id: int, label: str) -> None:
        if self._is_full:
            return
        place, encoded = len(self._texts), label.encode()
        head, text = self._place(place)
        head[0], head[1] = app_id, len(encoded)
        text[: len(encoded)] = encoded
        self._count[0] = place + 1
        self._follow()

    def _place(self, place: int) -> tuple[memoryview, memoryview]:
        start = (1 + place) * _PLACE_BYTES
        memory = self._memory[start : start + _PLACE_BYTES]
        return memory[:16].cast("Q"), memory[16:]
