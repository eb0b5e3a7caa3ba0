"""One limit of nesting, the same in both lanes, for single events, arrays and lines."""

import gzip
from collections.abc import Callable

import pytest

from ingest.events.nesting import LEVELS_MAX
from ingest.store.cluster import Cluster
from tests.conftest import make_key
from tests.http.cases import AUTH, HOST, JSON, KEY, chunked, join, post
from tests.http.checks import assert_refusal, assert_success, query
from tests.support.postgres import new_database
from tests.support.raw import Answer, connected
from tests.support.server import Server, running_server

NDJSON = b"Content-Type: application/x-ndjson"
GOOD = b'{"event_name":"good"}'
MIB = 1 << 20
SMALLEST_STACK = """DO $$ BEGIN EXECUTE format(
    'ALTER DATABASE %I SET max_stack_depth = ''100kB''', current_database()
); END $$"""


def nested(levels: int) -> bytes:
    """Return an event whose parameters have so many levels."""
    return b'{"event_name":"deep","event_params":%b1%b}' % (b'{"a":' * levels, b"}" * levels)


def ask(server: Server, request: bytes) -> Answer:
    """Send a request on a connection of its own."""
    with connected(server.port) as client:
        return client.ask(request.replace(KEY, server.key.encode()))


def batch(body: bytes, *headers: bytes) -> bytes:
    """Return the request of a batch."""
    size = b"Content-Length: %d" % len(body)
    return join(b"POST /events HTTP/1.1", HOST, AUTH, size, *headers, body=body)


def as_array(*events: bytes) -> bytes:
    """Return the request of an array."""
    return batch(b"[%b]" % b",".join(events), JSON)


def as_lines(*events: bytes) -> bytes:
    """Return the request of lines."""
    return batch(b"\n".join(events), NDJSON)


def as_single(event: bytes) -> bytes:
    """Return the request of an event that the fast lane takes, if there is one."""
    return post(body=event)


@pytest.mark.parametrize("request_of", [as_single, chunked])
def test_single_event_may_have_so_many_levels(
    shared_server: Server, request_of: Callable[[bytes], bytes]
) -> None:
    """And not one more, on both lanes."""
    row = assert_success(ask(shared_server, request_of(nested(LEVELS_MAX))))
    assert row["event_name"] == "deep"
    for levels in (LEVELS_MAX + 1, 500, 979, 980, 983, 5000):
        message = assert_refusal(
            ask(shared_server, request_of(nested(levels))), 400, "invalid_event_params"
        )
        assert str(LEVELS_MAX) in message


@pytest.mark.parametrize("request_of", [as_array, as_lines])
@pytest.mark.parametrize("filling", [1, 3000], ids=["short", "long"])
def test_deep_event_costs_its_batch_nothing(
    shared_server: Server, request_of: Callable[..., bytes], filling: int
) -> None:
    """It is refused alone, whatever its depth; one at the limit is stored."""
    depths = (LEVELS_MAX + 1, 500, 976, 977, 978, 979, 5000, 50_000)
    good, deep = [GOOD] * filling, [nested(levels) for levels in depths]
    events = [*good, nested(LEVELS_MAX), *deep, *good]
    answer = ask(shared_server, request_of(*events))
    assert answer.status == 207
    content = answer.json()
    assert len(content["data"]) == 2 * filling + 1
    refused = {error["index"]: error["code"] for error in content["errors"]}
    first = filling + 1
    assert refused == dict.fromkeys(range(first, first + len(deep)), "invalid_event_params")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[" * MIB, 400, "invalid_json"),
        (b'[{"a":' * (MIB // 6), 400, "invalid_json"),
        (b"[" * (MIB // 2) + b"]" * (MIB // 2), 413, "payload_too_large"),
        (b"[" * 1000 + b"]" * 1000, 400, "invalid_batch"),
        (b"[" * LEVELS_MAX + b"]" * LEVELS_MAX, 400, "invalid_batch"),
    ],
    ids=["open lists", "open objects", "lists", "1,000 lists", "128 lists"],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_document_of_nothing_but_brackets_is_refused(
    shared_server: Server, body: bytes, status: int, code: str, *, is_packed: bool
) -> None:
    """Cleanly, and others are served at once."""
    packed = batch(gzip.compress(body), JSON, b"Content-Encoding: gzip")
    answer = ask(shared_server, packed if is_packed else batch(body, JSON))
    assert (answer.status, answer.code) == (status, code)
    assert_success(ask(shared_server, post()))


def test_postgres_takes_the_limit_with_the_smallest_stack_it_can_have(cluster: Cluster) -> None:
    """So that no event which is let through costs its batch another COPY."""
    with new_database(cluster) as url:
        key = make_key(url)
        query(url, SMALLEST_STACK)
        assert query(url, "SHOW max_stack_depth")[0]["max_stack_depth"] == "100kB"
        with running_server(("--database-url", url), key) as server:
            assert_success(ask(server, post(body=nested(LEVELS_MAX))))
