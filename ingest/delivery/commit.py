"""Rows on their way into `events`, and what is known of each."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.events import copy_reader
from ingest.store.failures import RowRefused

if TYPE_CHECKING:
    from ingest.store.merge import Earlier

_NAMED_MAX: Final = 2
_ROWS_OF_NAMED: Final = 500
"""So many refused rows of a commit are taken out by their lines, and one more for so many rows;
then it is sifted, which costs the same for one bad row of a thousand as for all. With two in any
commit, one connection did 8,000 events a second of 20,000 with 20 bad ones among them: the longer
it took, the more of them were in a batch."""
_HUNG_ROWS_MAX: Final = 500
"""So few rows take no time-out by their number alone."""


class Part(NamedTuple):
    """Some rows of a commit, by index."""

    indices: Sequence[int]
    is_suspect: bool = False
    """Whether they are to be sifted."""
    is_stored: bool = False
    """Whether they are there by now, and it is asked which of them were there before."""


class Commit:
    """Rows on their way into the table; what is known of them stays known if Postgres goes away."""

    def __init__(self, rows: Sequence[bytes], on_hung: Callable[[int], None] | None = None) -> None:
        self.rows = rows
        self._on_hung = on_hung
        """Is told the app of rows that took a time-out, long before each of them is found."""
        self.parts: list[Part] = [Part(range(len(rows)))] if rows else []
        """The rows of which nothing is known yet; the last part is the next to be sent."""
        self.refused: dict[int, RowRefused] = {}
        """By index."""
        self.passed_by: set[int] = set()
        """The rows whose node is away; nothing is known of them either."""
        self.earlier: list[Earlier] = []
        """Rows that were stored before, if they were asked for."""
        self.named = 0
        """How many rows were taken out by their lines."""
        self.named_max = _NAMED_MAX + len(rows) // _ROWS_OF_NAMED

    @property
    def pending(self) -> set[int]:
        """The indices of the rows of which nothing is known yet."""
        return self.passed_by.union(*(part.indices for part in self.parts))

    @property
    def is_clean(self) -> bool:
        """Whether all rows are stored."""
        return not (self.parts or self.refused or self.passed_by)

    @property
    def unstored(self) -> set[int]:
        """The indices of the rows that are not known to be stored."""
        return self.pending | self.refused.keys()

    def pass_by(self, apps: Container[int]) -> bool:
        """Leave out the rows of some apps; return whether there were any."""
        parts, passed_by = self.parts, len(self.passed_by)
        self.parts = []
        for part in parts:
            theirs = {at for at in part.indices if copy_reader.app_id(self.rows[at]) in apps}
            self.passed_by |= theirs
            if not theirs:
                self.parts.append(part)
            elif rest := [at for at in part.indices if at not in theirs]:
                self.parts.append(part._replace(indices=rest))
        return len(self.passed_by) > passed_by

    def refused_by_app(self) -> Iterator[tuple[int, RowRefused]]:
        """Yield why each refused row was, with its app."""
        for index, bad in self.refused.items():
            yield copy_reader.app_id(self.rows[index]), bad

    def tell_hung(self, part: Part) -> None:
        """Tell whose rows have taken a time-out, if that is clear."""
        app_ids = {copy_reader.app_id(self.rows[at]) for at in part.indices}
        is_clear = len(app_ids) == 1 and len(part.indices) <= _HUNG_ROWS_MAX
        if is_clear and self._on_hung is not None:
            self._on_hung(app_ids.pop())

    def rows_of(self, part: Part) -> Sequence[bytes]:
        """Return the rows of a part."""
        if len(part.indices) == len(self.rows):
            return self.rows
        return [self.rows[index] for index in part.indices]

    def cut_up(self, indices: Sequence[int]) -> list[Part]:
        """Cut up rows that are refused as a whole: by apps, or else in tenths."""
        by_app: defaultdict[int, list[int]] = defaultdict(list)
        for index in indices:
            by_app[copy_reader.app_id(self.rows[index])].append(index)
        if len(by_app) > 1:
            return [Part(each) for each in by_app.values()]
        return cut(indices, max(1, len(indices) // 10))


def cut(
    indices: Sequence[int], rows_max: int, *, is_suspect: bool = False, is_stored: bool = False
) -> list[Part]:
    """Cut rows up into parts, the last piece first."""
    starts = range(0, len(indices), rows_max)
    return [Part(indices[at : at + rows_max], is_suspect, is_stored) for at in starts][::-1]
