"""Links: which ids are one person's, as events say it; a row in `person_links` for each.

A link joins an id to another one. There are three kinds, by what says it:

- A sign-in: a user's id beside an anonymous one (Segment, RudderStack, Amplitude), or beside the
  one before it in an alias of theirs; and PostHog's `$identify`. It joins the other id to that.
- An alias: PostHog's `$create_alias` joins its `alias`; who of the two is a user it does not say.
- A merge: PostHog's `$merge_dangerously` joins its `alias`, whoever that is. Joined to itself it is
  joined to nobody any more.

Of the events that say the same the first counts, of merges the last.

What they make of ids is in `insights/joined.py`. An id that many clients send when they know none
(`null`, `anonymous`, …) is linked to nobody, and neither is one of over ID_BYTES_MAX.

The archiver writes those of the events of a pass with the pass. They depend on nothing but events,
so that they stay when an archive is made anew; those of the tail are read with it.
"""

from typing import Final

from ingest.archive import rows, tail
from ingest.archive.state import State
from ingest.archive.workspace import Workspace
from ingest.store.person import is_somebody

_SIGN_IN: Final = 0
_ALIAS: Final = 1
_MERGE: Final = 2

ID_BYTES_MAX: Final = 500
"""Two of them fit in a row of Postgres's index."""

_KEPT: Final = "kept_links"
"""Where DuckDB has those that were read from `person_links`, of all apps that were asked about."""
_KEPT_MAX: Final = 5_000_000
_OF_TAIL: Final = "tail_links"
_ROW: Final = "joined VARCHAR, person VARCHAR, kind TINYINT, at_us BIGINT"
_COLUMNS: Final = (
    f"joined, person, kind = {_SIGN_IN} AS is_sign_in, kind = {_MERGE} AS is_merge, at_us"
)

# Which parameters it has tells of most events that they say nothing.
_SAYS: Final = """(
    event_params ? '$user_id'
    AND event_params ?| ARRAY['$anonymous_id', '$device_id', '$previous_id']
    OR event_name IN ('$identify', '$create_alias', '$merge_dangerously')
    AND event_params ?| ARRAY['$anon_distinct_id', 'alias'])"""
_SAID: Final = f"""
SELECT events.app_id, {rows.AT} AS at, event_name,
    event_params ->> '$user_id' AS user_id, event_params ->> 'distinct_id' AS distinct_id,
    event_params ->> '$anonymous_id' AS anonymous_id, event_params ->> '$device_id' AS device_id,
    event_params ->> '$anon_distinct_id' AS anon_distinct_id,
    event_params ->> '$previous_id' AS previous_id, event_params ->> 'alias' AS alias
FROM (SELECT * FROM events WHERE {{condition}}) AS events WHERE {_SAYS} OFFSET 0
"""
_LINKS: Final = f"""
SELECT app_id, joined, person, kind, {rows.microseconds("at")} AS at_us
FROM (
    SELECT app_id, joined, person, kind, CASE kind WHEN {_MERGE} THEN max(at) ELSE min(at) END AS at
    FROM ({_SAID}) AS said CROSS JOIN LATERAL (
        SELECT anonymous_id, user_id, {_SIGN_IN}
        UNION ALL SELECT device_id, user_id, {_SIGN_IN}
            WHERE anonymous_id IS NULL AND distinct_id IS NULL
        UNION ALL SELECT anon_distinct_id, distinct_id, {_SIGN_IN} WHERE event_name = '$identify'
        UNION ALL SELECT previous_id, user_id, {_SIGN_IN} WHERE event_name = '$create_alias'
        UNION ALL SELECT alias, distinct_id, {_ALIAS} WHERE event_name = '$create_alias'
        UNION ALL SELECT alias, distinct_id, {_MERGE} WHERE event_name = '$merge_dangerously'
    ) AS link (joined, person, kind)
    WHERE joined <> person OR kind = {_MERGE} GROUP BY app_id, joined, person, kind
) AS grouped WHERE {{both_are_somebody}}
"""
_KEEP: Final = (
    "INSERT INTO person_links (app_id, joined, person, kind, at_us) {}"
    " ON CONFLICT (app_id, joined, person, kind) DO UPDATE"
    " SET at_us = excluded.at_us, number = DEFAULT WHERE CASE excluded.kind"
    f" WHEN {_MERGE} THEN excluded.at_us > person_links.at_us"
    " ELSE excluded.at_us < person_links.at_us END"
)


def keep(workspace: Workspace, condition: str) -> None:
    """Write the links of some events, in the transaction of a pass; raise ArchiveTrouble."""
    workspace.execute(_KEEP.format(_of(condition)))


def read(workspace: Workspace, state: State, app_id: int) -> str | None:
    """Have all of an app, those of its tail too, in the transaction of a view.

    Of a tail that no question reads whole the rest says nothing. Returns the relation in DuckDB,
    whose name is another one when anything in it is: joined, person, is_sign_in, is_merge, at_us.
    None if there are none. Raises ArchiveTrouble.
    """
    _refresh(workspace, state, int(app_id))
    _read_tail(workspace, state, int(app_id))
    every = (
        f"SELECT {_COLUMNS} FROM {_KEPT} WHERE app_id = {int(app_id)}"
        f" UNION ALL SELECT {_COLUMNS} FROM {_OF_TAIL}"
    )
    ((count, content),) = workspace.duck.execute(
        f"SELECT count(*), sum(hash(all_of_them)) FROM ({every}) AS all_of_them"
    ).fetchall()
    if not count:
        return None
    name = f"links_{int(app_id)}_{count}_{content}"
    workspace.duck.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {every}")
    return name


def _refresh(workspace: Workspace, state: State, app_id: int) -> None:
    """Have what was written since it was read last; one row may be there twice."""
    duck = workspace.duck
    source = f"{state.archive_id}/{state.links_erased}"
    duck.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {_KEPT}"
        f" (source VARCHAR, number BIGINT, app_id INTEGER, {_ROW})"
    )
    ((count, of_others, number),) = duck.execute(
        "SELECT count(*), count(*) FILTER (source <> $1),"
        f" coalesce(max(number) FILTER (app_id = {app_id}), 0) FROM {_KEPT}",
        [source],
    ).fetchall()
    # An archive was begun anew, who knows why, or some were erased.
    if count > _KEPT_MAX or of_others:
        duck.execute(f"TRUNCATE {_KEPT}")
        number = 0
    sql = (
        "SELECT number, app_id, joined, person, kind, at_us FROM person_links"
        f" WHERE app_id = {app_id} AND number > {number}"
    )
    with workspace.stream(sql) as answer:
        duck.execute(f"INSERT INTO {_KEPT} SELECT $1, * FROM {answer}", [source])


def _read_tail(workspace: Workspace, state: State, app_id: int) -> None:
    duck = workspace.duck
    duck.execute(f"CREATE OR REPLACE TEMP TABLE {_OF_TAIL} ({_ROW})")
    for condition in state.tail:
        limited = f"events.app_id = {app_id} AND {condition} LIMIT {tail.ROWS_MAX}"
        with workspace.stream(_of(limited)) as answer:
            duck.execute(f"INSERT INTO {_OF_TAIL} SELECT * EXCLUDE (app_id) FROM {answer}")


def _of(condition: str) -> str:
    both = f"{_is_somebody('joined')} AND {_is_somebody('person')}"
    return _LINKS.format(condition=condition, both_are_somebody=both)


def _is_somebody(column: str) -> str:
    return f"octet_length({column}) <= {ID_BYTES_MAX} AND {is_somebody(column)}"
