"""What the intake takes, Postgres takes, and gives back equal; and it takes all that it may."""

import asyncio
from collections.abc import Callable, Iterator

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings

from ingest.errors import Refusal
from ingest.events.event import decode
from ingest.store.cluster import Cluster
from tests.http.documents import PARAMS, exact, is_storable

EXAMPLES = 150
Cast = Callable[[bytes], str]


@pytest.fixture(scope="module")
def cast_to_jsonb(cluster: Cluster) -> Iterator[Cast]:
    """Cast bytes to jsonb and return its text, on one connection for all examples."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(cluster.url("postgres"), timeout=10))
        sql = "SELECT convert_from($1::bytea, 'UTF8')::jsonb::text"
        statement = runner.run(connection.prepare(sql))

        async def cast(params: bytes) -> str:
            return str(await statement.fetchval(params))

        yield lambda params: runner.run(cast(params))
        runner.run(connection.close())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(params=PARAMS)
@example(params=b'{"a":"\\\\u0000"}')
@example(params=b'{"a":"\\\\\\u0000"}')
@example(params=b'{"a":1,"a":"\\u0000"}')
@example(params=b'{"a":-0,"b":0e-999,"c":1E+0000000308}')
@example(params=b'{"a":0.%b1e310}' % (b"0" * 320))
def test_exactly_what_postgres_stores_unharmed_is_accepted(
    cast_to_jsonb: Cast, params: bytes
) -> None:
    """Accepted by the contract's own rule or refused; and what is accepted survives jsonb."""
    try:
        name, taken, _ = decode(b'{"event_name":"a","event_params":%b}' % params, 255)
    except Refusal:
        assert not is_storable(params)
        return
    assert is_storable(params)
    assert (name, taken) == ("a", params)
    assert exact(cast_to_jsonb(params)) == exact(params.decode())
