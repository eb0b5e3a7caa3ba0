"""Apps as labels: the names of the first so many, cut to a length; the others are one.

Apps are made by the operator, and named by them: there may be thousands, and a name of a megabyte.
A label, once given, stays: were it to change, a counter would go down, and another one jump.
"""

from collections.abc import Mapping
from typing import Final

APPS_MAX: Final = 50
CHARS_MAX: Final = 100
OTHER_APP: Final = "other"


class AppLabels:
    """The label of each app; two apps may share one."""

    def __init__(self) -> None:
        self._labels: dict[int, str] = {}

    @property
    def known(self) -> frozenset[str]:
        """Every label but that of the others."""
        return frozenset(self._labels.values())

    def learn(self, apps: Mapping[int, str]) -> None:
        """Give labels to apps that have none yet, in the order of their numbers."""
        for app_id in sorted(apps.keys() - self._labels.keys()):
            if len(self._labels) >= APPS_MAX:
                return
            self._labels[app_id] = apps[app_id][:CHARS_MAX] or OTHER_APP

    def of(self, app_id: int) -> str:
        """Return an app's label."""
        return self._labels.get(app_id, OTHER_APP)
