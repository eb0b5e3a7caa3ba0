"""Links: which ids are one person's, as events say it; a row in `person_links` for each.

A link joins an id to another one. There are three kinds, by what says it:

- `SIGNED_IN`: a user's id beside an anonymous one (Segment, RudderStack, Amplitude), or PostHog's
  `$identify`. It joins the anonymous id to that of the user, who has signed in.
- `ALIAS`: `$create_alias` joins the id of before (`$previous_id`), or PostHog's `alias`.
- `MERGE`: PostHog's `$merge_dangerously` joins its `alias`, whoever that is.

What they make of ids is in `insights/joined.py`. An id that many clients send when they know none
(`null`, `anonymous`, …) is linked to nobody, and neither is one of over ID_BYTES_MAX.

The archiver writes those of the events of a pass with the pass. They don't depend on anything but
events, so that they stay when an archive is made anew; those of the tail are read with it.
"""

from collections.abc import Iterable
from typing import Final

from ingest.archive import rows
from ingest.archive.workspace import Workspace

SIGNED_IN: Final = 0
ALIAS: Final = 1
MERGE: Final = 2

ID_BYTES_MAX: Final = 500
"""Two of them fit in a row of Postgres's index."""

TABLE: Final = "links"
"""Where DuckDB has all of an app: joined, person, is_sign_in, is_merge, at_us."""

_KEPT: Final = "kept_links"
"""Where it has those that were read from `person_links`, of all apps that were asked about."""
_KEPT_MAX: Final = 5_000_000
_COLUMNS: Final = (
    f"joined, person, kind = {SIGNED_IN} AS is_sign_in, kind = {MERGE} AS is_merge, at_us"
)
DROP: Final = f"DROP TABLE IF EXISTS {TABLE}"

_NOBODY: Final = (
    "0", "anonymous", "distinct_id", "distinctid", "email", "false", "guest", "id", "nan", "nil",
    "none", "not_authenticated", "null", "true", "undefined", "unknown", "user", "user_id",
    "[object object]", "00000000-0000-0000-0000-000000000000",
)  # fmt: skip
# That an event says nothing of two ids is told by which parameters it has (0.1 us an event).
_SAYS: Final = """(
    event_params ? '$user_id'
    AND event_params ?| ARRAY['$anonymous_id', '$device_id', '$previous_id']
    OR event_name IN ('$identify', '$create_alias', '$merge_dangerously')
    AND event_params ?| ARRAY['$anon_distinct_id', 'alias'])"""
_SAID: Final = f"""
SELECT events.app_id, {rows.AT} AS at, event_name,
    event_params ->> '$user_id' AS user_id, event_params ->> 'distinct_id' AS distinct_id,
    coalesce(event_params ->> '$anonymous_id', event_params ->> '$device_id') AS anonymous_id,
    event_params ->> '$anon_distinct_id' AS anon_distinct_id,
    event_params ->> '$previous_id' AS previous_id, event_params ->> 'alias' AS alias
FROM events WHERE {{condition}} AND {_SAYS} OFFSET 0
"""
_LINKS: Final = f"""
SELECT app_id, joined, person, kind, {rows.microseconds("at")} AS at_us
FROM (
    SELECT app_id, joined, person, kind, min(at) AS at
    FROM ({_SAID}) AS said CROSS JOIN LATERAL (
        SELECT anonymous_id, user_id, {SIGNED_IN} WHERE distinct_id IS NULL
        UNION ALL SELECT anon_distinct_id, distinct_id, {SIGNED_IN} WHERE event_name = '$identify'
        UNION ALL SELECT previous_id, user_id, {ALIAS} WHERE event_name = '$create_alias'
        UNION ALL SELECT alias, distinct_id, {ALIAS} WHERE event_name = '$create_alias'
        UNION ALL SELECT alias, distinct_id, {MERGE} WHERE event_name = '$merge_dangerously'
    ) AS link (joined, person, kind)
    WHERE joined <> person GROUP BY app_id, joined, person, kind
) AS grouped WHERE {{is_somebody}}
"""
_KEEP: Final = (
    "INSERT INTO person_links (app_id, joined, person, kind, at_us) {}"
    " ON CONFLICT (app_id, joined, person, kind) DO UPDATE"
    " SET at_us = excluded.at_us, number = DEFAULT WHERE excluded.at_us < person_links.at_us"
)


def keep(workspace: Workspace, condition: str) -> None:
    """Write the links of some events, in the transaction of a pass; raise ArchiveTrouble."""
    workspace.execute(_KEEP.format(_of(condition)))


def read(workspace: Workspace, app_id: int, tail: Iterable[str]) -> int:
    """Have all of an app as TABLE, those of its tail too; return how many there are.

    In the transaction of a view. Raises ArchiveTrouble.
    """
    _refresh(workspace, int(app_id))
    duck = workspace.duck
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE {TABLE} AS SELECT {_COLUMNS} FROM {_KEPT}"
        f" WHERE app_id = {int(app_id)}"
    )
    for condition in tail:
        of_tail = _of(f"events.app_id = {int(app_id)} AND {condition}")
        with workspace.stream(of_tail) as answer:
            duck.execute(f"INSERT INTO {TABLE} SELECT {_COLUMNS} FROM {answer}")
    (count,) = duck.execute(f"SELECT count(*) FROM {TABLE}").fetchall()[0]
    return int(count)


def _refresh(workspace: Workspace, app_id: int) -> None:
    """Have what was written since it was read last; one row may be there twice."""
    duck = workspace.duck
    duck.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {_KEPT} (app_id INTEGER, joined VARCHAR, person VARCHAR,"
        " kind TINYINT, at_us BIGINT, number BIGINT)"
    )
    ((count, number),) = duck.execute(
        f"SELECT count(*), coalesce(max(number) FILTER (app_id = {app_id}), 0) FROM {_KEPT}"
    ).fetchall()
    if count > _KEPT_MAX:
        duck.execute(f"TRUNCATE {_KEPT}")
        number = 0
    sql = (
        "SELECT app_id, joined, person, kind, at_us, number FROM person_links"
        f" WHERE app_id = {app_id} AND number > {number}"
    )
    with workspace.stream(sql) as answer:
        duck.execute(f"INSERT INTO {_KEPT} SELECT * FROM {answer}")


def _of(condition: str) -> str:
    is_somebody = f"{_is_somebody('joined')} AND {_is_somebody('person')}"
    return _LINKS.format(condition=condition, is_somebody=is_somebody)


def _is_somebody(column: str) -> str:
    nobody = ", ".join(map(rows.literal, _NOBODY))
    return (
        f"octet_length({column}) BETWEEN 1 AND {ID_BYTES_MAX}"
        f" AND lower(btrim({column})) <> ALL (ARRAY[{nobody}, ''])"
    )
