"""The questions in SQL, as somebody writes them who knows Postgres and has the schema's indexes.

There is one: the primary key, by app and id, and ids are of the time of receipt. Events that
happened in a range were received after its start, as far as clocks agree; the server takes none
that is more than a day ahead. So where a range begins late `uuid_at` leaves out what lies before;
all the rest has to be read. Rows are counted so that parallel workers can help.

$1 is the app, and where there is a range $2 its start, $3 its end, and $4 a day before its start.
"""

from typing import Final

_AT: Final = 'coalesce("timestamp", created_at)'
_PERSON: Final = "event_params->>'user_id'"
_DAY: Final = f"date_trunc('day', {_AT}, 'UTC')"
_IN_RANGE: Final = f"app_id = $1 AND id >= uuid_at($4) AND {_AT} >= $2 AND {_AT} < $3"

NAMES_BY_DAY: Final = f"""
    SELECT event_name, {_DAY}, count(*) FROM events WHERE {_IN_RANGE} GROUP BY 1, 2"""

PAGES_BY_DAY: Final = f"""
    SELECT event_params->>'page', {_DAY}, count(*) FROM events WHERE {_IN_RANGE} GROUP BY 1, 2"""

PEOPLE_BY_DAY: Final = f"""
    WITH seen AS MATERIALIZED (
        SELECT DISTINCT {_DAY} AS day, {_PERSON} AS person FROM events WHERE {_IN_RANGE})
    SELECT day, count(person) FROM seen GROUP BY day
    UNION ALL SELECT NULL, count(DISTINCT person) FROM seen"""

AMOUNTS_BY_DAY: Final = f"""
    SELECT {_DAY} AS day,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY (event_params->>'amount')::float8)
    FROM events WHERE {_IN_RANGE} AND event_name = 'purchase'
    GROUP BY GROUPING SETS ((day), ())"""

# $5 is the end of the window behind the range, $6 its length. Each step looks back at the latest
# event of the step before: whoever began later has more of the window left.
FUNNEL: Final = f"""
    WITH marked AS (
        SELECT {_PERSON} AS person, {_AT} AS at, id,
            event_name = 'page_view' AND {_AT} < $3 AS is_1,
            event_name = 'user_signup' AS is_2, event_name = 'purchase' AS is_3
        FROM events
        WHERE app_id = $1 AND id >= uuid_at($4) AND {_AT} >= $2 AND {_AT} < $5
            AND event_name IN ('page_view', 'user_signup', 'purchase')
            AND {_PERSON} IS NOT NULL),
    begun AS (
        SELECT *, max(at) FILTER (WHERE is_1) OVER before AS first FROM marked
        WINDOW before AS (
            PARTITION BY person ORDER BY at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
    gone_on AS (
        SELECT person, at, id, is_1, is_3, first, is_2 AND at - first <= $6 AS is_2 FROM begun),
    through AS (
        SELECT *, max(at) FILTER (WHERE is_2) OVER before AS second,
            max(first) FILTER (WHERE is_2) OVER before AS first_of_second
        FROM gone_on
        WINDOW before AS (
            PARTITION BY person ORDER BY at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
    attempts AS (
        SELECT person, at, id, 3 AS level, second - first_of_second AS took_2, at - second AS took_3
        FROM through WHERE is_3 AND at - first_of_second <= $6
        UNION ALL SELECT person, at, id, 2, at - first, NULL FROM through WHERE is_2
        UNION ALL SELECT person, at, id, 1, NULL, NULL FROM through WHERE is_1),
    furthest AS (
        SELECT DISTINCT ON (person) level, extract(epoch FROM took_2) * 1000000 AS took_2,
            extract(epoch FROM took_3) * 1000000 AS took_3
        FROM attempts ORDER BY person, level DESC, at, id)
    SELECT count(*), count(*) FILTER (WHERE level >= 2), count(*) FILTER (WHERE level >= 3),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took_2::float8) / 1e6,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took_3::float8) / 1e6
    FROM furthest"""

# Of any event: whoever has two in a week was back in it.
RETENTION: Final = f"""
    WITH weeks AS MATERIALIZED (
        SELECT {_PERSON} AS person, count(*) AS events,
            CASE WHEN {_AT} < $2 THEN '-infinity' ELSE date_trunc('week', {_AT}, 'UTC') END AS week
        FROM events
        WHERE app_id = $1 AND {_AT} < $3 AND {_PERSON} IS NOT NULL
        GROUP BY 1, 3),
    cohorts AS (SELECT person, min(week) AS cohort FROM weeks GROUP BY person)
    SELECT cohort, week, count(*), count(*) FILTER (WHERE events > 1)
    FROM weeks JOIN cohorts USING (person) WHERE cohort > '-infinity' GROUP BY cohort, week"""

# $2 is the person.
TIMELINE: Final = f"""
    SELECT id, {_AT}, created_at, event_name, {_PERSON}, event_params::text FROM events
    WHERE app_id = $1 AND {_PERSON} = $2
    ORDER BY {_AT} DESC, id DESC LIMIT 101"""

NAMES: Final = f"""
    SELECT event_name, count(*), max({_AT}) FROM events
    WHERE app_id = $1 GROUP BY 1"""

_PARAMETERS: Final = """
    found AS (
        SELECT name, 'params.' || key AS path, value FROM latest, jsonb_each(params)
        UNION ALL
        SELECT found.name, found.path || '.' || inner_one.key, inner_one.value
        FROM found, jsonb_each(
            CASE WHEN jsonb_typeof(found.value) = 'object' THEN found.value ELSE '{}' END
        ) AS inner_one)
    SELECT name, path, jsonb_typeof(value), value #>> '{}', count(*)
    FROM found GROUP BY 1, 2, 3, 4
    UNION ALL SELECT name, NULL, NULL, NULL, count(*) FROM latest GROUP BY 1"""

# An event is received after it has happened, so the latest 1,000 are among the last received; as
# many again were late at the most.
PARAMETERS: Final = f"""
    WITH RECURSIVE received AS (
        SELECT id, event_name AS name, {_AT} AS at, event_params AS params FROM events
        WHERE app_id = $1 ORDER BY events.id DESC LIMIT 2000),
    latest AS (SELECT id, name, params FROM received ORDER BY at DESC, id DESC LIMIT 1000),
    {_PARAMETERS}"""

# Where so many are not archived yet it is these that are looked into.
PARAMETERS_OF_TAIL: Final = f"""
    WITH RECURSIVE latest AS (
        SELECT id, event_name AS name, event_params AS params FROM events
        WHERE app_id = $1 AND xact >= (SELECT mark FROM archive_state)
        ORDER BY {_AT} DESC, id DESC LIMIT 1000),
    {_PARAMETERS}"""
