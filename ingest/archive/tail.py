"""The tail: the events that are not in the archive, or a portion of them, read from Postgres.

Where a portion ends is asked first, by time and id alone, so that no others travel.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from ingest.archive import manifest, rows
from ingest.archive.failures import NotReady
from ingest.archive.rows import literal
from ingest.archive.scope import All, First, Nothing, One, Place, Scope
from ingest.archive.state import State
from ingest.archive.workspace import Workspace

ROWS_MAX: Final = 2_000_000
"""More events that are not in the archive no question reads: then it is said to be behind."""
NAME: Final = "tail"
"""Where DuckDB has it."""
DROP: Final = f"DROP VIEW IF EXISTS {NAME}; DROP TABLE IF EXISTS sent"


class Tail(NamedTuple):
    """What was read."""

    rows: int
    bytes: int = 0
    """Of their parameters as text; of a portion alone, as it takes a look at each."""
    until: Place | None = None
    """Up to where a portion has all of the tail; None if it has the rest of it too."""


class Reader(NamedTuple):
    """Reads an app's tail in the transaction of a view."""

    workspace: Workspace
    state: State
    app_id: int
    user_field: str
    conditions: Sequence[str] = ()
    """What is true of an event that counts."""

    def read(self, scope: Scope) -> Tail:
        """Have what is wanted as NAME; raise ArchiveTrouble, NotReady if it is too much."""
        conditions = [
            f"events.app_id = {int(self.app_id)}",
            *(f"events.{each}" for each in self.conditions),
            *manifest.within(rows.AT, rows.AT, scope.start, scope.end),
        ]
        match scope.tail:
            case All(has_params):
                return Tail(_few(self._have(conditions, has_params=has_params)))
            case Nothing():
                _few(self._count(conditions))
                return Tail(self._have(["false"]))
            case One(event_id):
                return Tail(self._have([*conditions, f"events.id = {_id(event_id)}"]))
            case First(limit, after):
                if after is not None:
                    conditions.append(f"({rows.AT}, events.id) > {_place(after)}")
                return self._have_first(conditions, limit)

    def _have_first(self, conditions: Sequence[str], limit: int) -> Tail:
        until = self._place_at(conditions, limit)
        last = [] if until is None else [f"({rows.AT}, events.id) <= {_place(until)}"]
        count = self._have([*conditions, *last])
        sql = "SELECT coalesce(sum(strlen(params)), 0)::BIGINT FROM sent"
        (size,) = self.workspace.duck.execute(sql).fetchall()[0]
        return Tail(count, int(size), until)

    def _have(self, conditions: Sequence[str], *, has_params: bool = True) -> int:
        """Have some of it, and ROWS_MAX and one at most; return how many."""
        person, duck = literal(self.user_field), self.workspace.duck
        send = rows.sent if has_params else rows.sent_without_params
        sql = " UNION ALL ".join(send(person, each) for each in self._each(conditions))
        with self.workspace.stream(f"{sql} LIMIT {ROWS_MAX + 1}") as answer:
            duck.execute(f"CREATE TEMP TABLE sent AS SELECT * EXCLUDE (app_id) FROM {answer}")
        # A VARIANT is made of the texts of those questions only that ask for parameters.
        duck.execute(
            f"CREATE TEMP VIEW {NAME} AS SELECT {rows.COLUMNS}, {rows.VARIANT} AS params FROM sent"
        )
        (count,) = duck.execute("SELECT count(*) FROM sent").fetchall()[0]
        return int(count)

    def _count(self, conditions: Sequence[str]) -> int:
        limited = f"SELECT 1 FROM ({self._keys(conditions)}) AS keys LIMIT {ROWS_MAX + 1}"
        ((count,),) = self.workspace.rows(f"SELECT count(*) FROM ({limited}) AS counted")
        return int(count)

    def _place_at(self, conditions: Sequence[str], limit: int) -> Place | None:
        """Return where the last of the first so many lies; None if there are no more than that."""
        found = self.workspace.rows(
            f"SELECT {rows.microseconds('at')}, id::text FROM ({self._keys(conditions)}) AS keys"
            f" ORDER BY keys.at, keys.id OFFSET {limit - 1} LIMIT 2"
        )
        if len(found) <= 1:
            return None
        at_us, event_id = found[0]
        return rows.time_of(at_us), UUID(event_id)

    def _keys(self, conditions: Sequence[str]) -> str:
        selects = (
            f"SELECT {rows.AT} AS at, events.id FROM events WHERE {each}"
            for each in self._each(conditions)
        )
        return " UNION ALL ".join(selects)

    def _each(self, conditions: Sequence[str]) -> list[str]:
        """Return the conditions of each of the tail's parts."""
        return [" AND ".join([*conditions, each]) for each in self.state.tail]


def ends(workspace: Workspace) -> list[int]:
    """Return the times of its first and its last event, in us; nothing if there is none."""
    sql = 'SELECT epoch_us(min("at")), epoch_us(max("at")) FROM sent HAVING count(*) > 0'
    return [us for row in workspace.duck.execute(sql).fetchall() for us in row]


def latest(workspace: Workspace, limit: int, bytes_max: int) -> list[tuple[str, str]]:
    """Return name and parameters, as JSON, of its latest events; empty ones of longer ones."""
    sql = (
        "SELECT name, CASE WHEN strlen(params) <= ? THEN params ELSE '{}' END"
        ' FROM sent ORDER BY "at" DESC, id DESC LIMIT ?'
    )
    return workspace.duck.execute(sql, [bytes_max, limit]).fetchall()


def _few(count: int) -> int:
    if count > ROWS_MAX:
        raise NotReady(f"more than {ROWS_MAX} events are not in the archive yet")
    return count


def _place(place: Place) -> str:
    at, event_id = place
    return f"({manifest.moment(at)}, {_id(event_id)})"


def _id(event_id: UUID) -> str:
    return f"{literal(str(event_id))}::uuid"
