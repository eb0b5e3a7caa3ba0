"""The pace of COPYs: what each row adds to one, so that none takes long while others wait.

A COPY has a price of its own, which is no reason to send fewer rows in it, and one for each row,
which is. A line through the last of them tells the two apart.
"""

from typing import Final

_WEIGHT: Final = 1 / 16
"""Of the newest COPY; so a Postgres that has become slow is known behind some of them."""


class Pace:
    """Follows COPYs of any number of rows."""

    def __init__(self) -> None:
        self._rows = 0.0
        self._took_s = 0.0
        self._rows_squared = 0.0
        self._rows_took_s = 0.0
        self.row_s = 0.0
        """What a row adds, as far as is known."""

    def note(self, rows: int, took_s: float, *, is_full: bool = False) -> None:
        """Take note of a COPY; `is_full` if it has as many rows as the pace lets it have."""
        self._rows += (rows - self._rows) * _WEIGHT
        self._took_s += (took_s - self._took_s) * _WEIGHT
        self._rows_squared += (rows * rows - self._rows_squared) * _WEIGHT
        self._rows_took_s += (rows * took_s - self._rows_took_s) * _WEIGHT
        variance = self._rows_squared - self._rows * self._rows
        if variance > self._rows_squared * _WEIGHT:
            covariance = self._rows_took_s - self._rows * self._took_s
            self.row_s = max(0.0, covariance / variance)
        elif is_full:
            # All have about as many, and nothing is learnt from them: little by little it is
            # forgotten, or what was wrong once would keep all that follow as small for ever.
            self.row_s *= 1 - _WEIGHT
        # It can't be more than all of it, for each.
        self.row_s = min(self.row_s, took_s / rows)
