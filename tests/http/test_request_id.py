"""`X-Request-Id`: what a request brings comes back with its answer, in both lanes."""

import pytest

from ingest.http.head import Head, parse
from ingest.http.request_id import CHARS_MAX, request_id_of
from ingest.store.apps import App
from ingest.store.keyring import Grant
from tests.conftest import StartServer
from tests.http.cases import EVENT, HOST, KEY, chunked, join, post
from tests.http.checks import assert_open_to_browsers, assert_success, locked_events
from tests.support.raw import connected
from tests.support.server import LANES, ONE_EVENT, Server, wait_for

ID = b"X-Request-Id: 6f1c2e.a~b:c/d+e=f@g-H_9"
TOLD = ID.partition(b": ")[2].decode()
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
LONGEST = "a" * CHARS_MAX
GOOD = [
    (["a"], [], "a"),
    ([LONGEST], [], LONGEST),
    ([], [PARENT], TRACE),
    (["a"], [PARENT], "a"),
    ([""], [PARENT], TRACE),
    (["a b"], [PARENT], TRACE),
    (["a", "b"], [PARENT], TRACE),
    ([], [f"01-{TRACE}-b7ad6b7169203331-01-more"], TRACE),
]
BAD_IDS = [
    "",
    " ",
    "a b",
    "a\tb",
    "a,b",
    "a;b",
    'a"b',
    "a'b",
    "<a>",
    "$(a)",
    "a\x7f",
    "é",
    "\udcff",
]
BAD_IDS += [LONGEST + "a", "nk_" + "K" * 43, "a\n", "{a}", "a\\b", "%0d%0a"]
BAD_PARENTS = [
    "",
    TRACE,
    PARENT.upper(),
    PARENT.replace("00-", "ff-", 1),
    PARENT.replace(TRACE, "0" * 32),
    PARENT.replace("b7ad6b7169203331", "0" * 16),
    PARENT.replace("-01", "-1"),
    PARENT + "\n",
    PARENT[:-1],
]


@pytest.mark.parametrize(("ids", "traceparents", "expected"), GOOD)
def test_id_is_the_header_s_or_the_trace_s(
    ids: list[str], traceparents: list[str], expected: str
) -> None:
    """The trace counts where there is not one good id."""
    assert request_id_of(ids, traceparents) == expected


@pytest.mark.parametrize("value", BAD_IDS)
def test_odd_id_is_none(value: str) -> None:
    """It stands in headers and logs: no spaces, quotes or brackets, nothing long, no API key."""
    assert request_id_of([value], []) == ""


@pytest.mark.parametrize("value", BAD_PARENTS)
def test_odd_traceparent_is_none(value: str) -> None:
    """As W3C Trace Context has it; two of them are none either."""
    assert request_id_of([], [value]) == ""
    assert request_id_of([], [PARENT, PARENT]) == ""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(ID), 200),
        (chunked(EVENT, headers=(ID,)), 200),
        (post(ID, b"Prefer: respond-async"), 202),
        (post(ID, body=b"{}"), 400),
        (post(ID).replace(KEY, b"nk_wrong"), 401),
        (post(ID, line=b"POST /none HTTP/1.1"), 404),
        (post(ID, line=b"PUT /event HTTP/1.1"), 405),
        (post(ID).replace(b"application/json", b"text/plain"), 415),
        (post(ID, line=b"POST /events HTTP/1.1", body=b"[%b]" % EVENT), 200),
        (post(ID, line=b"POST /events HTTP/1.1", body=b"[{}]"), 400),
        (join(b"GET /healthz HTTP/1.1", HOST, ID), 200),
    ],
)
def test_id_comes_back_with_every_answer(lane: Server, request_bytes: bytes, status: int) -> None:
    """Successes and refusals; a page that sent one to a route of its own may read it."""
    with connected(lane.port) as client:
        for _ in range(2):
            answer = client.ask(request_bytes.replace(KEY, lane.key.encode()))
            assert (answer.status, answer.headers.get("x-request-id")) == (status, TOLD)
            if b"healthz" not in request_bytes:
                assert_open_to_browsers(answer)


def test_each_request_of_a_connection_has_its_own(lane: Server) -> None:
    """Or none: pipelined, with bad events among them, by id and by trace."""
    by_trace = b"traceparent: 00-%032x-b7ad6b7169203331-01"
    ids = [b"", b"X-Request-Id: a-%d", by_trace, b"X-Request-Id: a b"]
    requests, expected = [], []
    for number in range(1, 41):
        header = ids[number % 4]
        header = header % number if b"%" in header else header
        requests.append(post(*([header] if header else []), body=(EVENT, b"{}")[number % 3 == 0]))
        told = [None, f"a-{number}", f"{number:032x}", None][number % 4]
        expected.append((400 if number % 3 == 0 else 200, told))
    with connected(lane.port) as client:
        client.send(b"".join(requests).replace(KEY, lane.key.encode()))
        answers = [client.read() for _ in requests]
    assert [(each.status, each.headers.get("x-request-id")) for each in answers] == expected


@pytest.mark.parametrize("fast_lane", LANES)
def test_id_comes_back_with_a_503_and_a_last_answer(
    database_url: str, start_server: StartServer, fast_lane: str
) -> None:
    """One event in a COPY, one waiting, no room for the third; the first has closed its side."""
    server = start_server(
        database_url,
        server__fast_lane=fast_lane,
        **ONE_EVENT,
    )
    request = post(ID).replace(KEY, server.key.encode())
    with (
        connected(server.port) as first,
        connected(server.port) as second,
        connected(server.port) as third,
    ):
        with locked_events(database_url):
            for number, client in enumerate((first, second), start=1):
                client.send(request)
                wait_for(lambda: server.metrics()["nonito_queue_events"] == number)  # noqa: B023
            first.half_close()
            refused = third.ask(request)
        answers = [first.read(), second.read()]
    assert [each.status for each in (*answers, refused)] == [200, 200, 503]
    assert {each.headers["x-request-id"] for each in (*answers, refused)} == {TOLD}
    for answer in answers:
        assert_success(answer)


def parsed(*headers: bytes) -> Head | None:
    """Return what the fast lane makes of a head."""
    head = post(*headers).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    return parse(head, lambda key: Grant(App(7, "shop"), None) if key == KEY.decode() else None)


@pytest.mark.parametrize(
    "header",
    [ID, b"traceparent: x", b"X-Request-Id: a b", b"sentry-trace: a", b"CF-Ray: a", b"baggage: a"],
)
def test_head_that_differs_each_time_is_taken_and_not_remembered(header: bytes) -> None:
    """Else what one client sends would drive out everybody's heads, each time all of them."""
    plain, unique = parsed(), parsed(header)
    assert plain is not None
    assert unique is not None
    assert (plain.is_repeated, unique.is_repeated) == (True, False)
