"""The whole corpus against a real server: each request has the answer that it must have."""

import threading
from collections import Counter

import pytest

from tests.http.cases import HOST, KEY, Case, join, post
from tests.http.checks import assert_refusal, assert_success, query
from tests.http.corpus import CASES, SLOW
from tests.support.raw import RawClient, connected
from tests.support.server import Server

HEALTH = join(b"GET /healthz HTTP/1.1", HOST)
NEIGHBOURS = 4
PREFLIGHT = 204


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_request_has_its_answer_and_the_server_goes_on(http_server: Server, case: Case) -> None:
    """Status, code and shape are as listed; the connection closes or serves on, as listed."""
    with connected(http_server.port) as client:
        answer = client.ask(case.with_key(http_server.key))
        if case.code is not None:
            assert_refusal(answer, case.status, case.code)
        elif case.status == PREFLIGHT:
            assert (answer.status, answer.body) == (PREFLIGHT, b"")
        else:
            assert_success(answer, case.status)
        assert answer.says_close is case.closes
        if case.closes:
            assert client.is_closed_by_server()
        else:
            assert client.ask(HEALTH).status == 200
    with connected(http_server.port) as client:
        assert client.ask(HEALTH).body == b'{"status":"ok"}'


def test_no_request_is_in_the_corpus_twice() -> None:
    """Each case tests something of its own."""
    requests = Counter(case.request for case in CASES)
    names = [case.name for case in CASES if requests[case.request] > 1]
    assert names == []


def test_bad_requests_disturb_no_neighbour_and_store_nothing(
    http_server: Server, http_url: str
) -> None:
    """While every bad request is sent, good ones on other connections all get 200 and a row."""
    (before,) = query(http_url, "SELECT count(*) FROM events")
    stop = threading.Event()
    ids: list[str | None] = []
    clients = [RawClient(http_server.port) for _ in range(NEIGHBOURS)]
    threads = [
        threading.Thread(target=_work, args=(client, http_server.key, stop, ids))
        for client in clients
    ]
    for thread in threads:
        thread.start()
    bad = [case for case in CASES if case.code is not None and case.name not in SLOW]
    for case in bad:
        with connected(http_server.port) as client:
            client.ask(case.with_key(http_server.key))
    stop.set()
    for thread, client in zip(threads, clients, strict=True):
        thread.join()
        client.close()
    (after,) = query(http_url, "SELECT count(*) FROM events")
    rows = query(http_url, "SELECT id::text FROM events WHERE id = ANY($1::uuid[])", ids)
    assert None not in ids, "a neighbour was refused"
    assert len(ids) > NEIGHBOURS
    assert {row["id"] for row in rows} == set(ids)
    assert after["count"] - before["count"] == len(ids)


def _work(client: RawClient, key: str, stop: threading.Event, ids: list[str | None]) -> None:
    request = post().replace(KEY, key.encode())
    while not stop.is_set():
        answer = client.ask(request)
        ids.append(answer.json()["data"][0]["id"] if answer.status == 200 else None)
