"""An answer that is sent piece by piece is the one that it would be in one."""

import gzip
import json
from typing import Any

import pytest

from ingest.http.rows_body import PIECE_BYTES
from tests.http.cases import AUTH, HOST, JSON, KEY, join, post
from tests.support.raw import Answer, RawClient, connected
from tests.support.server import Server

_COUNT = 300
_SIZES = [10, 100, 3_000, PIECE_BYTES - 100, PIECE_BYTES, 2 * PIECE_BYTES]


def _ask(client: RawClient, server: Server, events: list[Any]) -> Answer:
    body = gzip.compress(json.dumps(events).encode())
    length = b"Content-Length: %d" % len(body)
    encoding = b"Content-Encoding: gzip"
    request = join(b"POST /events HTTP/1.1", HOST, AUTH, JSON, encoding, length, body=body)
    return client.ask(request.replace(KEY, server.key.encode()))


def _events() -> list[Any]:
    sizes = (_SIZES[number % len(_SIZES)] for number in range(_COUNT))
    return [
        {"event_name": f"e{number}", "event_params": {"text": "x" * size}}
        for number, size in enumerate(sizes)
    ]


def _assert_next_is_answered(client: RawClient, server: Server) -> None:
    request = post(body=b'{"event_name":"next"}')
    answer = client.ask(request.replace(KEY, server.key.encode()))
    assert answer.json()["data"][0]["event_name"] == "next"


def test_long_answer_has_every_row_in_order(http_server: Server) -> None:
    """And the connection goes on."""
    events = _events()
    with connected(http_server.port) as client:
        answer = _ask(client, http_server, events)
        assert answer.status == 200
        assert int(answer.headers["content-length"]) == len(answer.body)
        rows = answer.json()["data"]
        sent = [{key: row[key] for key in ("event_name", "event_params")} for row in rows]
        assert sent == events
        assert len({row["id"] for row in rows}) == _COUNT
        _assert_next_is_answered(client, http_server)


@pytest.mark.parametrize("bad", [[0], [17, 150], [_COUNT - 1], list(range(_COUNT - 1))])
def test_long_answer_tells_what_is_refused(http_server: Server, bad: list[int]) -> None:
    """Behind the rows of the others."""
    events = _events()
    for index in bad:
        events[index] = 7
    with connected(http_server.port) as client:
        answer = _ask(client, http_server, events)
        assert answer.status == 207
        found = answer.json()
        assert found["status"] == "partial"
        assert [error["index"] for error in found["errors"]] == bad
        good = [f"e{index}" for index in range(_COUNT) if index not in bad]
        assert [row["event_name"] for row in found["data"]] == good
        _assert_next_is_answered(client, http_server)
