"""The one way of rows into `events`: COPY, merge what is stored already, find what is refused.

Most rows are new, so they go by COPY, the fastest way there is. When one of them turns out to be
stored, all are merged by key, and so are the next ones for a while, since retries come in swarms; a
row with an Idempotency-Key has to be looked up, so rows with one are always merged. Rows of many
times are sent in parts, since each partition that a transaction touches is locked. A row that
Postgres refuses is taken out by the line that the error names and the rest is sent again: two COPYs
for one bad row. When there are more of them, or the error names none, the rows are sifted: one by
one within Postgres. When even that is refused as a whole, they are cut up further: by apps, so that
one's rows hold up no other's, then in tenths.

Where nobody waits, no row is given up before it was refused on its own. Whether a failure is the
rows' at all, or that of a Postgres that would take none, an empty COPY tells.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

from ingest.delivery.commit import Commit, Part, cut
from ingest.events import copy_format, copy_reader
from ingest.store.failures import AlreadyStored, RowRefused, RowsDropped, Unavailable
from ingest.store.link import CopyLink
from ingest.store.merge import Earlier, Scattered
from ingest.store.partitions import Partitions

if TYPE_CHECKING:
    from ingest.store.nodes import Nodes

MERGES: Final = 16
"""So many documents are merged behind one in which something was stored already."""
PART_ROWS_MAX: Final = 5_000
"""Behind a refusal the rest is sent in parts of so many rows at most: another one then costs one
part's COPY. No more than a batch of the queue has, which is one part."""
SIFTED_ROWS_MAX: Final = 500
"""So many rows are sifted at once: 14 ms, far from any time-out."""

_SIFTED_FAR_MAX: Final = 20
"""And so many where each row is another machine's to judge, which takes some 3 ms. More are sent in
tenths first: of a refused row Citus tells no line, and nearly all tenths have none."""
_WAIT_TRIES: Final = 2_000
"""A failure that has taken a whole time-out counts as so many others."""


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
        is_patient: bool = False,
    ) -> None:
        self._link = link
        self.nodes: Nodes | None = None
        """Of Citus, should it be one; None asks for none."""
        self._partitions = partitions
        """For rows that may be of any time, and may have keys."""
        self._merges = merges
        """So many documents are merged behind one in which something was stored already. None in a
        replay: there it is the one that a crash left, and a merge costs twice as much."""
        self._wants_earlier = wants_earlier
        """Whether to tell how rows look that were stored before."""
        self._part_rows_max = part_rows_max
        self._is_patient = is_patient
        """Whether nobody waits: then no row is given up before it was sifted, and the row is looked
        for that makes a statement take too long."""
        self._merges_left = 0

    @property
    def apps_away(self) -> frozenset[int]:
        """The apps whose rows are passed by now."""
        return self.nodes.apps_away if self.nodes is not None else frozenset()

    def held(self, timeout_s: float) -> AbstractAsyncContextManager[None]:
        """Have the connection for some work; raise NoTurn if others have it for so long."""
        return self._link.held(timeout_s)

    @property
    def is_due(self) -> bool:
        """Whether others wait for the connection, and should have it."""
        return self._link.is_due

    async def require_database(self) -> None:
        """Raise AnotherDatabase if that is what the connection leads to by now, or Unavailable."""
        await self._link.require_database()

    async def run(self, commit: Commit, failures_max: float = math.inf) -> None:
        """Store all rows but those that Postgres refuses; raise Unavailable.

        Ends earlier, with some pending, behind so many failures that are nobody's to be told. Rows
        whose node is away are passed by.
        """
        if self.apps_away:
            commit.pass_by(self.apps_away)
        commit.parts = [
            piece for part in commit.parts for piece in self._cut_by_homes(commit, part)
        ]
        failures = 0
        while commit.parts and failures < failures_max:
            part = commit.parts.pop()
            try:
                failures += await self._try(commit, part)
            except BaseException:
                commit.parts.append(part)
                raise

    async def _try(self, commit: Commit, part: Part) -> int:
        """Store a part, or cut it up; return what that counts towards `failures_max`."""
        try:
            return await self._store(commit, part)
        except Scattered:
            half = (len(part.indices) + 1) // 2
            commit.parts += cut(part.indices, half, is_suspect=part.is_suspect)
            return 0
        except RowsDropped as dropped:
            return await self._find_dropped(commit, part, dropped.with_traceback(None))
        except (RowRefused, Unavailable) as error:
            failure = error.with_traceback(None)  # it would keep the rows
        if part.is_stored and isinstance(failure, Unavailable):
            failure.stored = None  # and not False, which is true of this statement alone
        if await self._is_passed_by(commit, part, failure):
            return 0
        if isinstance(failure, RowRefused):
            return await self._isolate(commit, part, failure)
        if not self._is_patient:
            raise failure
        return await self._isolate(commit, part, failure.as_refusal())

    async def _is_passed_by(
        self, commit: Commit, part: Part, failure: RowRefused | Unavailable
    ) -> bool:
        """Leave out the rows whose node is away, if that is why a part has failed.

        Where nobody knows whether it is stored, and somebody waits, the rest is not sent again: it
        would wait for what hangs.
        """
        if self.nodes is None or not self.nodes.may_have_failed(failure):
            return False
        await self.nodes.look()
        is_known = isinstance(failure, RowRefused) or failure.stored is False
        if not (is_known or self._is_patient):
            return False
        commit.parts.append(part)
        if commit.pass_by(self.nodes.apps_away):
            return True
        commit.parts.pop()
        return False

    async def _store(self, commit: Commit, part: Part) -> int:
        if part.is_suspect:
            return await self._sift(commit, part)
        commit.earlier += await self._send(commit.rows_of(part))
        return 0

    async def _isolate(self, commit: Commit, part: Part, bad: RowRefused) -> int:
        """Take out what is refused, or cut the part up; raise Unavailable if no row is to blame."""
        if bad.is_doubtful and bad.index is None:
            await self._link.probe()
        if bad.is_waiting and bad.sqlstate:
            commit.tell_hung(part)
        self._take_out(commit, part, bad)
        if bad.is_told:
            return 0
        return _WAIT_TRIES if bad.is_waiting else 1

    def _cut_by_homes(self, commit: Commit, part: Part) -> list[Part]:
        """Cut a part up by the partitions that its rows belong to; they may be of any time."""
        if self._partitions is None:
            return [part]
        moments_ms = [copy_reader.moment_ms(commit.rows[at]) for at in part.indices]
        pieces = self._partitions.map.cut(moments_ms)
        if len(pieces) == 1:
            return [part]
        return [part._replace(indices=[part.indices[at] for at in piece]) for piece in pieces]

    async def _find_dropped(self, commit: Commit, part: Part, dropped: RowsDropped) -> int:
        """Note which rows a COPY did not store, or have them sifted: all others are stored.

        Some of those were before, if more are there than it stored: a trigger that drops a row does
        so before its key can be found to be taken.
        """
        rows = commit.rows_of(part)
        try:
            missing = await self._link.missing(
                [(copy_reader.app_id(each), copy_reader.event_id(each)) for each in rows]
            )
        except Unavailable as failure:
            failure.stored = None  # most of them are: the COPY was committed
            raise
        indices = sorted(part.indices[at] for at in missing)
        if self._is_patient:
            commit.parts += cut(indices, SIFTED_ROWS_MAX, is_suspect=True)
        else:
            commit.refused |= dict.fromkeys(indices, dropped)
        if self._wants_earlier and len(rows) - len(missing) > dropped.stored_rows:
            stored = sorted(set(part.indices).difference(indices))
            commit.parts += cut(stored, SIFTED_ROWS_MAX, is_suspect=True, is_stored=True)
        return 1

    def _take_out(self, commit: Commit, part: Part, bad: RowRefused) -> None:
        """Note which row is refused, or decide how to find out."""
        indices, at = part.indices, bad.index
        if len(indices) == 1 and (part.is_suspect or self._is_certain(bad)):
            commit.refused[indices[0]] = bad
        elif at is not None and (part.is_suspect or commit.named < commit.named_max):
            self._take_out_named(commit, part, bad, at)
        elif part.is_suspect or bad.is_waiting:
            # Last of all: others' rows are not to wait behind more of these time-outs.
            commit.parts[:0] = commit.cut_up(indices)
        elif self._link.is_distributed and len(indices) > _SIFTED_FAR_MAX:
            commit.parts += commit.cut_up(indices)
        else:
            commit.parts += cut(indices, SIFTED_ROWS_MAX, is_suspect=True)

    def _is_certain(self, bad: RowRefused) -> bool:
        """Whether a row that was sent alone need not be sifted: maybe it is there already."""
        return not (self._is_patient and bad.is_doubtful) or bad.is_waiting

    def _take_out_named(self, commit: Commit, part: Part, bad: RowRefused, at: int) -> None:
        index = part.indices[at]
        rest = [*part.indices[:at], *part.indices[at + 1 :]]
        commit.parts += cut(rest, self._part_rows_max, is_suspect=part.is_suspect)
        commit.named += 1
        if self._is_patient and not bad.is_told:
            commit.parts.append(Part([index]))  # alone, to be sure that it is this one
        else:
            commit.refused[index] = bad

    async def _sift(self, commit: Commit, part: Part) -> int:
        """Store what Postgres takes of a part; what it refuses with others around comes again."""
        rows = commit.rows_of(part)
        has_keys = self._has_keys(rows)
        sifted = await self._link.sift(
            copy_format.document(rows),
            len(rows),
            has_keys=has_keys,
            wants_earlier=self._wants_earlier,
        )
        if sifted.earlier:
            existing = (rows[at] for at in sifted.existing)
            commit.earlier += _of_before(sifted.earlier, existing, is_stored=part.is_stored)
        refused = {part.indices[at]: bad for at, bad in sifted.refused.items()}
        refused = await self._without_passed_by(commit, refused)
        if len(refused) == len(rows):
            commit.refused |= refused
        elif refused:
            commit.parts.append(Part(sorted(refused), is_suspect=True))
        return bool(refused)

    async def _without_passed_by(
        self, commit: Commit, refused: dict[int, RowRefused]
    ) -> dict[int, RowRefused]:
        """Pass by those of refused rows whose node is away; return the others."""
        nodes = self.nodes
        if nodes is None or not any(map(nodes.may_have_failed, refused.values())):
            return refused
        await nodes.look()
        theirs = {at for at in refused if copy_reader.app_id(commit.rows[at]) in nodes.apps_away}
        commit.passed_by |= theirs
        return {at: bad for at, bad in refused.items() if at not in theirs}

    async def _send(self, rows: Sequence[bytes]) -> list[Earlier]:
        """Store rows; return those that were there, if they are wanted."""
        document = copy_format.document(rows)
        if self._partitions is not None:
            moments = ((copy_reader.app_id(row), copy_reader.moment_ms(row)) for row in rows)
            await self._partitions.make_for(moments)
        has_keys = self._has_keys(rows)
        if not has_keys and not self._merges_left:
            try:
                await self._link.copy(document, len(rows))
            except AlreadyStored:
                self._merges_left = self._merges
            else:
                return []
        return await self._merge(document, len(rows), has_keys=has_keys)

    def _has_keys(self, rows: Iterable[bytes]) -> bool:
        return self._partitions is not None and any(map(copy_reader.has_idempotency_key, rows))

    async def _merge(self, document: bytes, rows: int, *, has_keys: bool) -> list[Earlier]:
        try:
            merged = await self._link.merge(
                document, rows, has_keys=has_keys, wants_earlier=self._wants_earlier
            )
        except AlreadyStored as conflict:  # of another index than the key's: the operator's
            raise conflict.as_refusal() from None
        self._merges_left = self._merges if merged.existing else max(0, self._merges_left - 1)
        return merged.earlier


def _of_before(
    found: Iterable[Earlier], rows: Iterable[bytes], *, is_stored: bool
) -> Iterator[Earlier]:
    """Yield those of what was found that are not rows themselves, stored a moment ago."""
    by_key = {copy_reader.dedup_key(row): row for row in rows}
    for each in found:
        if each.key not in by_key:
            continue
        if is_stored and copy_reader.is_stored_as(by_key[each.key], each.stored):
            continue
        yield each
