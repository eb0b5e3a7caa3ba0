"""Up to where the archive holds everything, and of which Postgres that is said: one row.

A row of `events` is in the archive if its `xact` is below the mark, or if it has none and its id
is below `null_before`. Whoever changes that names what it was: of two that archive at once only one
can commit.
"""

from typing import Final, NamedTuple
from uuid import UUID

from ingest.archive.failures import Moved, NotReady, Overtaken
from ingest.archive.workspace import Workspace
from ingest.store import citus
from ingest.store.archive_mark import SYSTEM, TIMELINE

_READ: Final = (
    "SELECT archive_id::text, mark, null_before::text, null_done, system_identifier, timeline,"
    f" {SYSTEM}, {TIMELINE}, {{settled}},"
    " extract(epoch FROM now() - changed_at)::float8,"
    " (extract(epoch FROM now()) * 1000000)::bigint, erased, links_erased FROM archive_state"
)
_SETTLED: Final = "txid_snapshot_xmin(txid_current_snapshot())"
WITHOUT_STATE: Final = (
    "archive_state is empty: nonito psql -c 'INSERT INTO archive_state DEFAULT VALUES'"
)


class State(NamedTuple):
    """What `archive_state` says, and what Postgres is, in one snapshot."""

    archive_id: str
    mark: int
    null_before: str | None
    null_done: bool
    system: str | None
    """Of which database of which Postgres it is said; None before there was an archive."""
    timeline: int | None
    system_now: str
    timeline_now: int
    settled: int
    """No transaction below this number can still commit, on any node."""
    age_s: float
    """Since it was changed."""
    now_us: int
    """The snapshot's time, since 1970."""
    erased: int
    """How often something was taken out of what archive and tail hold."""
    links_erased: int
    """And of the links."""

    @property
    def is_new(self) -> bool:
        """Whether there was never an archive."""
        return self.system is None

    @property
    def has_moved(self) -> bool:
        """Whether the mark is one of another Postgres, or of a time line that was left."""
        here = (self.system_now, self.timeline_now)
        return not self.is_new and (self.system, self.timeline) != here

    @property
    def has_other_numbers(self) -> bool:
        """Whether transactions are counted anew since, so that `xact` says nothing."""
        if self.system is None:
            return False
        cluster, cluster_now = (each.split("/")[0] for each in (self.system, self.system_now))
        return (cluster, self.timeline) != (cluster_now, self.timeline_now)

    def require_same(self) -> None:
        """Raise NotReady or Moved unless the mark is one of this Postgres."""
        if self.is_new:
            raise NotReady("no archive was made yet")
        if self.has_moved:
            raise Moved("the database was restored or has failed over: the archive is made anew")

    @property
    def tail(self) -> list[str]:
        """Return the conditions, of which each row that is not in the archive meets one."""
        conditions = [f"xact >= {self.mark}"]
        if not self.null_done:
            from_here = f" AND events.id >= '{self.null_before}'" if self.null_before else ""
            conditions.append(f"xact IS NULL{from_here}")
        return conditions


def read(workspace: Workspace) -> State:
    """Return the state in the transaction's snapshot; raise ArchiveTrouble."""
    settled = citus.SETTLED if workspace.is_distributed else _SETTLED
    found = workspace.rows(_READ.format(settled=settled))
    if not found:
        raise NotReady(WITHOUT_STATE)
    return State(*found[0])


def advance(workspace: Workspace, before: State, after: State) -> None:
    """Change the state from what it was; raise Overtaken if somebody else has."""
    changed = workspace.execute(
        f"UPDATE archive_state SET archive_id = {_id(after.archive_id)}, mark = {after.mark},"
        f" null_before = {_id(after.null_before)}, null_done = {after.null_done},"
        f" system_identifier = '{after.system}', timeline = {after.timeline}, changed_at = now()"
        f" WHERE archive_id = {_id(before.archive_id)} AND mark = {before.mark}"
        f" AND null_before IS NOT DISTINCT FROM {_id(before.null_before)}"
    )
    if changed != 1:
        raise Overtaken("another process has changed the archive meanwhile")


def note_erased(workspace: Workspace) -> None:
    """Say that something was taken out of what there is; raise Overtaken if it has changed."""
    if workspace.execute("UPDATE archive_state SET erased = erased + 1") != 1:
        raise NotReady(WITHOUT_STATE)


def _id(text: str | None) -> str:
    return f"'{UUID(text)}'::uuid" if text else "NULL"
