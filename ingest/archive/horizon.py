"""Horizons as the archive goes by them: which events count, and which it may hold alone.

Where more is to be kept than before, what the archive has let go since counts again when it is
there again: at once if Postgres has none of it either, else when the archive was made anew.

A horizon is a time, and what is compared are ids, as in Postgres, whatever `at` an event has. Ids
are compared as texts in lower case, which have the same order.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ingest.archive.manifest import File
from ingest.archive.workspace import Workspace

_OVERDUE_DAYS: Final = 7
_READ: Final = (
    "SELECT app_id, uuid_at(greatest(archive_before, forgotten_before))::text,"
    " uuid_at(dropped_before)::text,"
    f" uuid_at(archive_before - interval '{_OVERDUE_DAYS} days')::text FROM retention"
)
_COMING_BACK: Final = (
    "forgotten_before IS NOT NULL AND (archive_before IS NULL OR archive_before < forgotten_before)"
)
_RANGES: Final = (
    "SELECT app_id, coalesce(uuid_at(archive_before), uuid_at('-infinity'))::text,"
    f" uuid_at(forgotten_before)::text FROM retention WHERE {_COMING_BACK}"
)
_STORED: Final = (
    "SELECT id::text FROM events WHERE app_id = {} AND id >= '{}' AND id < '{}' ORDER BY id LIMIT 1"
)
_OTHERS: Final = 0


class Horizon(NamedTuple):
    """That of one app."""

    first: str | None = None
    """The first id that counts; None if all do."""
    alone_before: str | None = None
    """Events of before this id may be here alone, as Postgres has dropped them; None for none."""
    overdue_before: str | None = None
    """Of a file with events of before this id it is time that they go."""

    def is_behind(self, file: File) -> bool:
        """Return whether no event of a file counts."""
        return bool(self.first and file.id_max and file.id_max < self.first)

    def cuts(self, file: File) -> bool:
        """Return whether an event of a file may not count."""
        return bool(self.first and (file.id_min is None or file.id_min < self.first))

    def is_overdue(self, file: File) -> bool:
        """Return whether a file has held for long what does not count."""
        return bool(self.overdue_before and file.id_min and file.id_min < self.overdue_before)

    def may_be_alone(self, file: File) -> bool:
        """Return whether a file may hold what Postgres has no more."""
        before = self.alone_before
        return bool(before and (file.id_min is None or file.id_min < before))

    @property
    def conditions(self) -> Sequence[str]:
        """Return what is true of an event that counts, as SQL of either side."""
        return [f"id >= '{self.first}'::uuid"] if self.first else []


class Horizons:
    """Those of all apps."""

    def __init__(self, found: Mapping[int, Horizon]) -> None:
        self._found = found

    def of(self, app_id: int) -> Horizon:
        """Return that of an app; of one that nothing is said of that of all others."""
        return self._found.get(app_id) or self._found.get(_OTHERS) or Horizon()

    def may_let_go(self, app_id: int) -> bool:
        """Return whether it can be noted that events of an app were let go."""
        return app_id in self._found

    @property
    def alone_before(self) -> str | None:
        """Before which id the archive may hold something alone, of any app; None for nowhere."""
        found = [each.alone_before for each in self._found.values() if each.alone_before]
        return max(found, default=None)


def read(workspace: Workspace) -> Horizons:
    """Return them in the transaction's snapshot; raise ArchiveTrouble."""
    return Horizons({app_id: Horizon(*ids) for app_id, *ids in workspace.rows(_READ)})


def read_of_app(workspace: Workspace, app_id: int) -> Horizon:
    """Return that of an app; raise ArchiveTrouble."""
    rows = workspace.rows(f"{_READ} WHERE app_id IN ({_OTHERS}, {int(app_id)})")
    return Horizons({app: Horizon(*ids) for app, *ids in rows}).of(int(app_id))


def forget(workspace: Workspace, app_id: int) -> None:
    """Say that what is behind an app's horizon is let go; raise ArchiveTrouble.

    Overtaken if the horizon is another one by now.
    """
    workspace.execute(
        "UPDATE retention SET forgotten_before = greatest(forgotten_before, archive_before)"
        f" WHERE app_id = {int(app_id)}"
    )


def remember(workspace: Workspace) -> None:
    """Have all count that is not behind the horizon: a new archive has let nothing go."""
    workspace.execute(
        "UPDATE retention SET forgotten_before = NULL WHERE forgotten_before IS NOT NULL"
    )


def lacks_stored(workspace: Workspace) -> bool:
    """Return whether Postgres holds what was let go and is to be kept again; raise ArchiveTrouble.

    Where it does not, that counts again by itself.
    """
    is_lacking = False
    for app_id, first, end in workspace.rows(_RANGES):
        if workspace.rows(_STORED.format(int(app_id), first, end)):
            is_lacking = True
        else:
            workspace.execute(
                f"UPDATE retention SET forgotten_before = NULL WHERE app_id = {int(app_id)}"
            )
    return is_lacking
