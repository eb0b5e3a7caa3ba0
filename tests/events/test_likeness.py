"""Whether two events say the same: as Postgres compares them."""

from itertools import product

import pytest

from ingest.events import copy_format, copy_reader
from ingest.events.ids import IdSequence
from ingest.events.likeness import COMPARED_BYTES_MAX, Comparer
from ingest.store.cluster import Cluster
from tests.http.checks import query

_ids = IdSequence()
HOUR_US = 3_600_000_000
TEXTS = [
    "{}",
    '{"a":1}',
    ' { "a" : 1 } ',
    '{"a":1.0}',
    '{"a":10e-1}',
    '{"a":true}',
    '{"a":"1"}',
    '{"a":0}',
    '{"a":-0.0}',
    '{"a":false}',
    '{"a":null}',
    '{"a":[]}',
    '{"a":[1,true]}',
    '{"a":[1,1]}',
    '{"a":[true,1]}',
    '{"a":{}}',
    '{"a":{"b":1,"c":2}}',
    '{"a":{"c":2,"b":1}}',
    '{"a":2,"a":1}',
    '{"a":1,"b":2}',
    '{"b":2,"a":1}',
    '{"a":1e2}',
    '{"a":100}',
    '{"a":100.00}',
    '{"a":12345678901234567}',
    '{"a":1.2345678901234567e16}',
    '{"a":12345678901234568}',
    '{"a":0.1}',
    '{"a":0.1000000000000000000001}',
    '{"a":1e300}',
    '{"a":1' + "0" * 300 + "}",
    '{"a":"\\u00e9"}',
    '{"a":"é"}',
    '{"a":"e\\u0301"}',
    '{"\\u0061":"é"}',
    '{"a":"\\ud83d\\udca9"}',
    '{"a":"💩"}',
]


def row(params: str = "{}", name: str = "a", timestamp_us: int | None = None) -> bytes:
    """Return a COPY tuple of an event."""
    event_id, _, moment = _ids.next()
    timestamp = None if timestamp_us is None else copy_format.time(timestamp_us)
    tail = copy_format.tail(moment.micros, [timestamp, None])
    head = copy_format.row_head(1)
    return copy_format.row(head, event_id, name.encode(), params.encode(), tail)


def is_different(one: bytes, other: bytes) -> bool:
    """Whether an event says something else than another one."""
    return Comparer().is_different(one, copy_reader.decode(other))


def test_parameters_are_compared_as_postgres_does(cluster: Cluster) -> None:
    """Each of these texts with each other; and with what Postgres prints of it."""
    pairs = list(product(TEXTS, TEXTS))
    sql = """
        SELECT one::jsonb = other::jsonb AS is_same, other::jsonb::text AS printed
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS pairs (one, other, n) ORDER BY n
    """
    found = query(cluster.url("postgres"), sql, *map(list, zip(*pairs, strict=True)))
    for (one, other), told in zip(pairs, found, strict=True):
        assert is_different(row(one), row(other)) is not told["is_same"], (one, other)
        assert is_different(row(one), row(told["printed"])) is not told["is_same"], (one, other)


def test_name_and_time_count_as_well() -> None:
    """An id, a key and the time of receipt don't."""
    assert is_different(row(name="a"), row(name="b"))
    assert is_different(row(timestamp_us=HOUR_US), row(timestamp_us=2 * HOUR_US))
    assert is_different(row(timestamp_us=HOUR_US), row())
    assert not is_different(row(timestamp_us=HOUR_US), row(timestamp_us=HOUR_US))
    assert not is_different(row(), row())


def test_what_is_too_long_to_be_compared_is_not_called_different() -> None:
    """Of all that one comparer is asked; what is alike to the byte, or of another name, is told."""
    comparer = Comparer()
    long = '{"a":"%s"}' % ("x" * (COMPARED_BYTES_MAX // 2))
    spaced = long.replace(":", ": ")
    other = copy_reader.decode(row(long))
    for _ in range(3):
        assert not comparer.is_different(row(long), other)
        assert comparer.is_different(row(long, name="b"), other)
    assert comparer.is_different(row('{"a":1}'), copy_reader.decode(row('{"a":2}')))
    assert not comparer.is_different(row(spaced.replace("x", "y")), other)
    assert not comparer.is_different(row('{"a":1}'), copy_reader.decode(row('{"a":2}')))


def test_parameters_that_are_not_told_are_not_called_different() -> None:
    """As those that are too long to be read back."""
    stored = copy_reader.decode(row()) | {"event_params": None}
    assert not Comparer().is_different(row('{"a":1}'), stored)


@pytest.mark.parametrize("digits", [5_000, 20_000])
def test_number_that_nobody_can_read_is_not_called_different(digits: int) -> None:
    """Somebody may have put it there by SQL."""
    stored = copy_reader.decode(row()) | {"event_params": '{"a": %s}' % ("1" * digits)}
    assert Comparer().is_different(row('{"a":1}'), stored) in {True, False}
    stored |= {"event_params": '{"a": 1e99999999999999999999}'}
    assert Comparer().is_different(row('{"a":1}'), stored) in {True, False}
