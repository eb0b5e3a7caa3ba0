"""Who is who: which ids are one person's, as the links of an app's events say.

A link joins an id to another one, and says how it came about: as of a sign-in, as an alias, or
merged on purpose (`archive/links.py`). What holds:

- Each id is joined to one other at most: by the earliest of its links, and of equally early ones
  by the least id. So an anonymous id is the first user's who signed in with it.
- An id that has signed in, which is one that a link of a sign-in joins another to, is joined to no
  other but on purpose: two users are never one person because they use one device.
- The person is the last one of those who can be reached from an id, from one to the next; the least
  id of a circle.
- All that is made of all links there are, whatever order they came in: an event of before the
  sign-in is the user's as well.
"""

from typing import Final

import duckdb

TABLE: Final = "joined"
"""Where DuckDB has it: `id`, and the `person` it is of; not those who are themselves."""

# A row's order is that of its members. An id that is not joined is nobody's but its own.
_FIRST: Final = f"""
CREATE OR REPLACE TEMP TABLE {TABLE} AS
WITH users AS (SELECT DISTINCT person FROM {{links}} WHERE is_sign_in)
SELECT joined AS id, min(struct_pack(at := at_us, id := person)).id AS person
FROM {{links}} ANTI JOIN users ON NOT is_merge AND users.person = {{links}}.joined
GROUP BY joined
"""
_IS_CHAINED: Final = (
    f"SELECT count(*) FROM {TABLE} AS one SEMI JOIN {TABLE} AS next ON one.person = next.id"
)
# Twice as far with each round: after n rounds whoever is at most 2^n links away was found.
_FURTHER: Final = f"""
CREATE OR REPLACE TEMP TABLE {TABLE} AS
SELECT one.id, coalesce(next.person, one.person) AS person
FROM {TABLE} AS one LEFT JOIN {TABLE} AS next ON one.person = next.id
"""
_CIRCLES: Final = f"""
CREATE OR REPLACE TEMP TABLE circles AS
SELECT one.id, one.person AS next, least(one.id, one.person) AS least
FROM first_{TABLE} AS one SEMI JOIN {TABLE} AS ends ON one.id = ends.person
"""
_AROUND: Final = """
CREATE OR REPLACE TEMP TABLE circles AS
SELECT one.id, next.next, least(one.least, next.least) AS least
FROM circles AS one JOIN circles AS next ON one.next = next.id
"""
_BROKEN: Final = f"""
CREATE OR REPLACE TEMP TABLE {TABLE} AS
SELECT one.id, coalesce(circles.least, one.person) AS person
FROM {TABLE} AS one LEFT JOIN circles ON one.person = circles.id
WHERE one.id <> coalesce(circles.least, one.person)
"""


def make(connection: duckdb.DuckDBPyConnection, links: str) -> str:
    """Make TABLE of a table of links, and return its name.

    That has the columns joined, person, is_sign_in, is_merge and at_us.
    """
    connection.execute(_FIRST.format(links=links))
    if _is_chained(connection):
        _follow(connection)
    return TABLE


def ids_of(connection: duckdb.DuckDBPyConnection, person: str) -> list[str]:
    """Return all ids of the person that one of them names, that one by whom they are told first."""
    found = connection.execute(f"SELECT person FROM {TABLE} WHERE id = $1", [person]).fetchall()
    told = found[0][0] if found else person
    sql = f"SELECT id FROM {TABLE} WHERE person = $1 ORDER BY id"
    return [told, *(each for (each,) in connection.execute(sql, [told]).fetchall())]


def _is_chained(connection: duckdb.DuckDBPyConnection) -> bool:
    ((count,),) = connection.execute(_IS_CHAINED).fetchall()
    return bool(count)


def _follow(connection: duckdb.DuckDBPyConnection) -> None:
    """Have each id be of the last one of its chain."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE first_{TABLE} AS FROM {TABLE}")
    ((count,),) = connection.execute(f"SELECT count(*) FROM {TABLE}").fetchall()
    rounds = int(count).bit_length()
    for _ in range(rounds):
        connection.execute(_FURTHER)
        if not _is_chained(connection):
            break
    else:
        _break_circles(connection, rounds)
    connection.execute(f"DROP TABLE first_{TABLE}")


def _break_circles(connection: duckdb.DuckDBPyConnection, rounds: int) -> None:
    """Have all of a circle, and who leads to it, be of its least id."""
    connection.execute(_CIRCLES)
    for _ in range(rounds):
        connection.execute(_AROUND)
    connection.execute(f"{_BROKEN}; DROP TABLE circles")
