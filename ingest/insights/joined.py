"""Who is who: which ids are one person's, as the links of an app's events say.

A link joins an id to another one, and says how it came about: as of a sign-in, as an alias, or
merged on purpose (`archive/links.py`). An id has signed in if a link of a sign-in joins another one
to it. What holds:

- An id that has signed in is joined to no other but on purpose: two users are never one person
  because they use one device. An alias between one that has and one that has not joins the latter.
- Each id is joined to one other at most: if on purpose, to whom was said last; if not, by the
  earliest of its links. Of those of one moment the least id counts. So an anonymous id is the first
  user's who signed in with it, and what was joined on purpose can be joined otherwise.
- The person is the last one of those who can be reached from an id, from one to the next, LINKS_MAX
  away at most. Of a circle it is the id whose own link is the earliest: what was said later counts.
- All that is made of all links there are, whatever order they came in: an event of before the
  sign-in is the user's as well.
"""

from collections.abc import Sequence
from typing import Final

import duckdb

LINKS_MAX: Final = 64
"""What is chained further no client means; it costs each question."""
FEW: Final = 50
"""A person with more ids is looked for by a table of them."""

_TABLE: Final = "joined"
_ROUNDS: Final = LINKS_MAX.bit_length() - 1
_FIRST: Final = f"""
CREATE OR REPLACE TEMP TABLE {_TABLE} AS
WITH users AS (SELECT DISTINCT person AS id FROM {{links}} WHERE is_sign_in),
said AS (
    SELECT joined, {{links}}.person, is_merge, at_us,
        one.id IS NOT NULL AND NOT is_merge AS is_user, other.id IS NOT NULL AS is_to_user
    FROM {{links}} LEFT JOIN users AS one ON one.id = joined
    LEFT JOIN users AS other ON other.id = {{links}}.person),
first AS (
    SELECT CASE WHEN is_user THEN person ELSE joined END AS id,
        min(struct_pack(is_other := NOT is_merge, place := if(is_merge, -at_us, at_us),
            id := CASE WHEN is_user THEN joined ELSE person END, at_us := at_us)) AS link
    FROM said WHERE NOT (is_user AND is_to_user) GROUP BY ALL)
SELECT id, link.id AS person, link.at_us AS at_us FROM first WHERE id <> link.id
"""
_IS_CHAINED: Final = (
    f"SELECT count(*) FROM {_TABLE} AS one SEMI JOIN {_TABLE} AS next ON one.person = next.id"
)
# Twice as far with each round: after n rounds whoever is at most 2^n links away was found.
_FURTHER: Final = f"""
CREATE OR REPLACE TEMP TABLE {_TABLE} AS
SELECT one.id, coalesce(next.person, one.person) AS person
FROM {_TABLE} AS one LEFT JOIN {_TABLE} AS next ON one.person = next.id
"""
_CIRCLES: Final = f"""
CREATE OR REPLACE TEMP TABLE circles AS
SELECT one.id, one.person AS next, struct_pack(at_us := one.at_us, id := one.id) AS told
FROM first_{_TABLE} AS one SEMI JOIN {_TABLE} AS ends ON one.id = ends.person
"""
_AROUND: Final = """
CREATE OR REPLACE TEMP TABLE circles AS
SELECT one.id, next.next, CASE WHEN one.told < next.told THEN one.told ELSE next.told END AS told
FROM circles AS one JOIN circles AS next ON one.next = next.id
"""
_BROKEN: Final = f"""
CREATE OR REPLACE TEMP TABLE {_TABLE} AS
SELECT one.id, coalesce(circles.told.id, one.person) AS person
FROM {_TABLE} AS one LEFT JOIN circles ON one.person = circles.id
WHERE one.id <> coalesce(circles.told.id, one.person)
"""
_BY: Final = "joined_by_"
_MADE: Final = f"SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, '{_BY}')"


class Joined:
    """The ids that are of another person: a table of DuckDB's whose first columns are both."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, links: str) -> None:
        """Make them of a relation of links, unless they were made of it already.

        That has the columns joined, person, is_sign_in, is_merge and at_us, and a name of its own
        for what is in it.
        """
        self._connection = connection
        self._ids: dict[str, Sequence[str]] = {}
        self.table = f"{_BY}{links}"
        made = [name for (name,) in connection.execute(_MADE).fetchall()]
        if self.table not in made:
            for name in made:
                connection.execute(f"DROP TABLE {name}")
            _make(connection, links)
            connection.execute(f"ALTER TABLE {_TABLE} RENAME TO {self.table}")

    def ids_of(self, person: str) -> Sequence[str]:
        """Return the ids of the person whose one of them is, FEW and one at most.

        The one by which they are told is the first.
        """
        if person not in self._ids:
            self._ids[person] = self.all_ids_of(person, FEW)
        return self._ids[person]

    def all_ids_of(self, person: str, limit: int) -> Sequence[str]:
        """Return the ids of the person whose one of them is, so many and one at most."""
        sql = f"SELECT person FROM {self.table} WHERE id = $1"
        found = self._connection.execute(sql, [person]).fetchall()
        told = found[0][0] if found else person
        sql = f"SELECT id FROM {self.table} WHERE person = $1 ORDER BY id LIMIT {limit}"
        return [told, *(each for (each,) in self._connection.execute(sql, [told]).fetchall())]


def _make(connection: duckdb.DuckDBPyConnection, links: str) -> None:
    connection.execute(_FIRST.format(links=links))
    if not _is_chained(connection):
        return
    connection.execute(f"CREATE OR REPLACE TEMP TABLE first_{_TABLE} AS FROM {_TABLE}")
    for _ in range(_ROUNDS):
        connection.execute(_FURTHER)
        if not _is_chained(connection):
            break
    else:
        _break_circles(connection)
    connection.execute(f"DROP TABLE first_{_TABLE}")


def _is_chained(connection: duckdb.DuckDBPyConnection) -> bool:
    ((count,),) = connection.execute(_IS_CHAINED).fetchall()
    return bool(count)


def _break_circles(connection: duckdb.DuckDBPyConnection) -> None:
    """Have all of a circle, and who leads to it, be of one of its ids."""
    connection.execute(_CIRCLES)
    for _ in range(_ROUNDS):
        connection.execute(_AROUND)
    connection.execute(f"{_BROKEN}; DROP TABLE circles")
