"""The one way of rows into `events`: COPY, merge what is stored already, find what is refused.

Most rows are new, so they go by COPY, the fastest way there is. When one of them turns out to be
stored, all are merged by key, and so are the next ones for a while, since retries come in swarms; a
row with an Idempotency-Key has to be looked up, so rows with one are always merged. Rows of many
times are sent in parts, since each partition that a transaction touches is locked. A row that
Postgres refuses is taken out by the line that the error names and the rest is sent again: two COPYs
for one bad row. When the error names none, the rows are sent in halves.
"""

from collections.abc import Sequence
from typing import Final

from ingest.events import copy_format, copy_reader
from ingest.store.failures import AlreadyStored, RowRefused
from ingest.store.link import CopyLink
from ingest.store.merge import Earlier, Scattered
from ingest.store.partitions import Partitions

MERGES: Final = 16
"""So many documents are merged behind one in which something was stored already."""
PART_ROWS_MAX: Final = 5_000
"""Behind a refusal the rest is sent in parts of so many rows at most: another one then costs one
part's COPY. No more than a batch of the queue has, which is one part."""


class Commit:
    """Rows on their way into the table; what is known of them stays known if Postgres goes away."""

    def __init__(self, rows: Sequence[bytes]) -> None:
        self.rows = rows
        self.pending: list[Sequence[int]] = [range(len(rows))] if rows else []
        """The indices of rows of which nothing is known yet, in parts; the last part is the next to
        be sent."""
        self.refused: dict[int, RowRefused] = {}
        """By index."""
        self.earlier: list[Earlier] = []
        """Rows that were stored before, if they were asked for."""

    @property
    def is_clean(self) -> bool:
        """Whether all rows are stored."""
        return not (self.pending or self.refused)

    @property
    def unstored(self) -> set[int]:
        """The indices of the rows that are not known to be stored."""
        return {index for part in self.pending for index in part} | self.refused.keys()

    def rows_of(self, part: Sequence[int]) -> Sequence[bytes]:
        """Return the rows of a part."""
        return self.rows if len(part) == len(self.rows) else [self.rows[index] for index in part]


class Committer:
    """Commits rows on one connection."""

    def __init__(
        self,
        link: CopyLink,
        *,
        partitions: Partitions | None = None,
        merges: int = 0,
        wants_earlier: bool = False,
        part_rows_max: int = PART_ROWS_MAX,
    ) -> None:
        self._link = link
        self._partitions = partitions
        """For rows that may be of any time, and may have keys."""
        self._merges = merges
        """So many documents are merged behind one in which something was stored already. None in a
        replay: there it is the one that a crash left, and a merge costs twice as much."""
        self._wants_earlier = wants_earlier
        """Whether to tell how rows look that were stored before."""
        self._part_rows_max = part_rows_max
        self._merges_left = 0

    async def run(self, commit: Commit, refusals_max: int | None = None) -> None:
        """Store all rows but those that Postgres refuses; raise Unavailable.

        Ends earlier, with some pending, behind so many refusals that are nobody's to be told.
        """
        commit.pending = [piece for part in commit.pending for piece in self._cut(commit, part)]
        untold = 0
        while commit.pending and (refusals_max is None or untold < refusals_max):
            part = commit.pending.pop()
            try:
                commit.earlier += await self._send(commit.rows_of(part))
            except Scattered:
                commit.pending += _halves(part)
            except RowRefused as bad:
                untold += not bad.is_told
                self._take_out(commit, part, bad.with_traceback(None))  # it would keep the rows
            except BaseException:
                commit.pending.append(part)
                raise

    def _cut(self, commit: Commit, part: Sequence[int]) -> list[Sequence[int]]:
        """Cut a part up by the partitions that its rows belong to; they may be of any time."""
        if self._partitions is None:
            return [part]
        pieces = self._partitions.map.cut([copy_reader.moment_ms(commit.rows[at]) for at in part])
        return [part] if len(pieces) == 1 else [[part[at] for at in piece] for piece in pieces]

    def _take_out(self, commit: Commit, part: Sequence[int], bad: RowRefused) -> None:
        """Note which row is refused, or cut the part up to find out."""
        at = 0 if len(part) == 1 else bad.index
        if at is None:
            commit.pending += _halves(part)
            return
        rest = [*part[:at], *part[at + 1 :]]
        commit.pending += _parts_of(rest, self._part_rows_max)
        if bad.is_told or len(part) == 1:
            commit.refused[part[at]] = bad
        else:
            commit.pending.append([part[at]])  # alone, to be sure that it is this one

    async def _send(self, rows: Sequence[bytes]) -> list[Earlier]:
        """Store rows; return those that were there, if they are wanted."""
        document = copy_format.document(rows)
        has_keys = False
        if self._partitions is not None:
            moments = ((copy_reader.app_id(row), copy_reader.moment_ms(row)) for row in rows)
            await self._partitions.make_for(moments)
            has_keys = any(map(copy_reader.has_idempotency_key, rows))
        if not has_keys and not self._merges_left:
            try:
                await self._link.copy(document, len(rows))
            except AlreadyStored:
                self._merges_left = self._merges
            else:
                return []
        return await self._merge(document, len(rows), has_keys=has_keys)

    async def _merge(self, document: bytes, rows: int, *, has_keys: bool) -> list[Earlier]:
        try:
            merged = await self._link.merge(
                document, rows, has_keys=has_keys, wants_earlier=self._wants_earlier
            )
        except AlreadyStored as conflict:  # of another index than the key's: the operator's
            raise RowRefused(None, conflict.sqlstate, conflict.reason, is_told=False) from None
        self._merges_left = self._merges if merged.existing else max(0, self._merges_left - 1)
        return merged.earlier


def _halves(part: Sequence[int]) -> list[Sequence[int]]:
    """Cut a part in two, the second half first."""
    middle = len(part) // 2
    return [part[middle:], part[:middle]]


def _parts_of(part: Sequence[int], rows_max: int) -> list[Sequence[int]]:
    """Cut a part up, the last piece first."""
    return [part[at : at + rows_max] for at in range(0, len(part), rows_max)][::-1]
