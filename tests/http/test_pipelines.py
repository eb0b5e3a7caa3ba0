"""Pipelines that are larger than what is read, parsed or kept at once."""

import pytest

from tests.http.cases import AUTH, KEY, chunked, post
from tests.http.pipelines import DEFERRED, GARBAGE, PLAIN, UPGRADE
from tests.support.raw import connected
from tests.support.server import Server

LARGE = b'{"event_name":"a","event_params":{"b":"%b"}}' % (b"x" * 900_000)
UNKNOWN = AUTH.replace(KEY, b"nk_" + b"x" * 43)
PIPELINES = {
    "a large body in chunks": (chunked(LARGE), [200]),
    "large bodies": (post(body=LARGE) + DEFERRED + post(body=LARGE), [200, 200, 200]),
    "a large body that nobody reads": (
        post(body=LARGE).replace(AUTH, UNKNOWN) + DEFERRED,
        [401, 200],
    ),
    "many behind a body that nobody reads": (
        chunked(LARGE).replace(AUTH, UNKNOWN) + DEFERRED * 40,
        [401] + [200] * 40,
    ),
    "a body that is too large": (
        post(body=LARGE + b" " * 1_000_000) + DEFERRED,
        [413, 200],
    ),
    "many": (DEFERRED * 200, [200] * 200),
    "many upgrades": (UPGRADE * 100, [200] * 100),
    "all kinds": ((UPGRADE + PLAIN + DEFERRED) * 60, [200] * 180),
}


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("is_half_closed", [False, True])
def test_every_request_of_a_large_pipeline_is_answered(
    shared_server: Server, name: str, *, is_half_closed: bool
) -> None:
    """In order, the malformed one behind them too, and then the connection ends."""
    requests, statuses = PIPELINES[name]
    with connected(shared_server.port) as client:
        client.send((requests + GARBAGE).replace(KEY, shared_server.key.encode()))
        if is_half_closed:
            client.half_close()
        assert [client.read().status for _ in statuses] == statuses
        assert client.read().status == 400
        assert client.is_closed_by_server()
