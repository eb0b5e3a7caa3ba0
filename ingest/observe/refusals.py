"""The latest refusals of a process, by app: a few of each, for few apps, noted at a bounded rate.

One app's flood takes no other app's place, and beyond what is noted in a second a refusal costs a
look and a number.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from ingest.errors import Refusal
from ingest.share.refusals import Refused, RefusedOf

OF_APP_MAX: Final = 5
"""So many are kept of an app, and so many noted in a second."""
APPS_MAX: Final = 12
"""Of more apps than that, those who were refused something last."""
CHARS_MAX: Final = 200
"""Of a message."""


class LatestRefusals:
    """Keeps them until others ask."""

    def __init__(self) -> None:
        self._by_app: dict[int, _OfApp] = {}
        """The app that was refused something last is the last."""
        self._is_told = True

    def note(self, refusal: Refusal, app_id: int, count: int = 1) -> None:
        """Note one, or some that are alike; NOBODYS of a request that is no app's."""
        found = self._by_app.pop(app_id, None)
        if found is None:
            found = _OfApp()
            if len(self._by_app) >= APPS_MAX:
                del self._by_app[next(iter(self._by_app))]
        self._by_app[app_id] = found
        self._is_told = False
        found.count += count
        if found.left:
            found.left -= 1
            found.latest.append(_refused(found.count, refusal))

    def take(self) -> Sequence[RefusedOf] | None:
        """Return all of them; None if nothing was refused since the last time. Once a second."""
        if self._is_told:
            return None
        self._is_told = True
        for each in self._by_app.values():
            each.left = OF_APP_MAX
        return [
            RefusedOf(app_id, each.count, tuple(each.latest))
            for app_id, each in self._by_app.items()
        ]


class _OfApp:
    def __init__(self) -> None:
        self.count = 0
        self.left = OF_APP_MAX
        """As many may still be noted in this second."""
        self.latest: deque[Refused] = deque(maxlen=OF_APP_MAX)


def _refused(number: int, refusal: Refusal) -> Refused:
    message = refusal.message[:CHARS_MAX].encode(errors="replace").decode()
    return Refused(number, time.time_ns() // 1_000, refusal.code, message)
