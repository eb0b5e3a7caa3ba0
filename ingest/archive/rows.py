"""From a row of `events` to the columns that are asked: what is sent, and what DuckDB makes of it.

The parameters travel as text and become a VARIANT, in which a number has the digits of a double.
DuckDB 2.0 can't write a number from 2^63 to 2^64 there, and what is past a double would be
infinite, so such numbers are made doubles, and the largest double, before. A document that it
refuses in whatever way is kept as a text, and one that Postgres prints in more than
PRINTED_BYTES_MAX bytes as an empty object: the event counts all the same.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from ingest.store import person

PRINTED_BYTES_MAX: Final = 4 << 20

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# No client's time is out of this range; what somebody has put there by hand is to stop nothing.
_TIME: Final = "greatest(least({}, '9999-12-31 00:00:00+00'), '0001-01-01 00:00:00+00')"
AT: Final = _TIME.format('coalesce(events."timestamp", events.created_at)')
"""When an event happened, for Postgres."""

_LARGE: Final = r"[\[ ]-?(9[0-9]{18}[,\]}]|1[0-9]{19}[,\]}]|[0-9]{309})"
"""Where jsonb may have printed such a number, or a text that looks like it."""
_STRINGS_AND_REST: Final = r""""(?:[^"\\]|\\.)*"|[^"]+"""
_INT64_MAX: Final = "9223372036854775807"
_ABOVE: Final = "|".join(  # of as many digits: one is larger, and those before it are the same
    f"{_INT64_MAX[:at]}[{int(digit) + 1}-9][0-9]{{{len(_INT64_MAX) - 1 - at}}}"
    for at, digit in enumerate(_INT64_MAX)
    if digit < "9"
)
_UNSIGNED: Final = f"(^|[^0-9.])({_ABOVE}|1[0-9]{{19}})($|[^0-9.])"
_INFINITE: Final = r"(^|[^0-9.])([2-9][0-9]{308}|1[7-9][0-9]{307}|[1-9][0-9]{309,})(\.[0-9]+)?"
_LARGEST: Final = "1.7976931348623157e308"
_MENDED: Final = (
    f"array_to_string(list_transform(regexp_extract_all(params, '{_STRINGS_AND_REST}'),"
    " lambda part: CASE WHEN part[1] = '\"' THEN part ELSE"
    rf" regexp_replace(regexp_replace(part, '{_UNSIGNED}', '\1\2.0\3', 'g'),"
    rf" '{_INFINITE}', '\1{_LARGEST}', 'g') END), '')"
)
READABLE: Final = f"CASE WHEN regexp_matches(params, '{_LARGE}') THEN {_MENDED} ELSE params END"
"""The text `params` with numbers that a VARIANT can hold."""
VARIANT: Final = (
    f"coalesce(TRY(({READABLE})::JSON::VARIANT), params::VARIANT, '{{}}'::JSON::VARIANT)"
)
"""What DuckDB makes of the text `params`; of none, an empty object."""
PACKED: Final = (
    f"CASE WHEN params <> 'null' THEN TRY(variant_to_parquet_variant(({READABLE})::JSON::VARIANT)"
    "::STRUCT(metadata BLOB, value BLOB)) END"
)
"""The text `params` in the bytes that Parquet has for a VARIANT; NULL where it has none."""
UNPACKED: Final = (
    f"coalesce(TRY(variant_bytes_to_variant(packed.metadata || packed.value)), {VARIANT})"
)
"""The VARIANT of `packed`. DuckDB 2.0 reads whole numbers from a text as unsigned ones, which are
given no columns of their own in a file; those that it reads from these bytes are signed."""
COLUMNS: Final = 'id, "at", created_at, name, person'
"""Those beside the parameters, as they are in the files."""
_FROM: Final = "FROM events LEFT JOIN apps ON apps.id = events.app_id"
USER_FIELD: Final = "user_id"
"""Of an app that has none of its own."""


def sent(user_field: str, condition: str) -> str:
    """Return what Postgres is asked: app_id, id, at, created_at, name, person, params as text.

    `user_field` is SQL for the name of an app's.
    """
    params = (
        f"CASE WHEN octet_length(printed.params) <= {PRINTED_BYTES_MAX} THEN printed.params END"
    )
    printed = "CROSS JOIN LATERAL (SELECT events.event_params::text AS params OFFSET 0) AS printed"
    return _sent(user_field, params, f"{_FROM} {printed} WHERE {condition}")


def sent_without_params(user_field: str, condition: str) -> str:
    """Return what Postgres is asked by whom needs no parameters: the same, and these are NULL."""
    return _sent(user_field, "NULL::text", f"{_FROM} WHERE {condition}")


def _sent(user_field: str, params: str, of_events: str) -> str:
    return (
        f"SELECT events.app_id, events.id, {AT} AS at, {_TIME.format('events.created_at')}"
        " AS created_at, events.event_name AS name,"
        f" {person.of_row(user_field, 'events.event_params')} AS person,"
        f" {params} AS params {of_events}"
    )


def person_of(user_field: str) -> str:
    """Return SQL of DuckDB's for the id that a row of a file carries, by an app's user field."""
    return person.of_event(literal(user_field), _text_of)


def _text_of(name: str) -> str:
    return f"json_extract_string(params[{name}]::JSON, '$')"


def microseconds(time: str) -> str:
    """Return SQL for a time of Postgres's as microseconds since 1970."""
    return f"(extract(epoch FROM {time}) * 1000000)::bigint"


def literal(text: str) -> str:
    """Return a text as SQL, for DuckDB, and for Postgres with its standard strings."""
    return "'" + text.replace("'", "''") + "'"


def time_of(us: int) -> datetime:
    """Return the time that so many microseconds since 1970 are."""
    return _EPOCH + timedelta(microseconds=us)
