"""`POST /events`: every event is stored once or refused for itself, and told which."""

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.http.batches import (
    JSON,
    NDJSON,
    POISON,
    ROW,
    Event,
    errors_of,
    events,
    post,
    send,
    stored,
    told,
    unique,
)
from tests.http.checks import locked_events, query
from tests.support.server import Server, books_balance, wait_for
from tests.test_retries import make_id


@pytest.fixture(scope="module")
def url(shared_database_url: str) -> str:
    """The module's database, in which an index refuses some events."""
    query(shared_database_url, POISON)
    return shared_database_url


@pytest.fixture
def server(url: str, shared_server: Server) -> Server:
    """The module's server; its metrics balance before and after each test."""
    assert url
    return shared_server


BAD: list[tuple[object, str]] = [
    ({}, "missing_event_name"),
    ({"event_name": ""}, "invalid_event_name"),
    ({"event_name": "a", "event_params": []}, "invalid_event_params"),
    ({"event_name": "a", "event_params": {"a": "\0"}}, "invalid_event_params"),
    ({"event_name": "a", "b": 1}, "unknown_field"),
    ({"event_name": "a", "id": "x"}, "invalid_id"),
    ({"event_name": "a", "timestamp": "now"}, "invalid_timestamp"),
    ({"event_name": "a", "event_params": {"a": "\ud800"}}, "invalid_json"),
    ([], "invalid_json"),
    ("a", "invalid_json"),
    (7, "invalid_json"),
    (None, "invalid_json"),
]


@pytest.mark.parametrize("kind", [JSON, NDJSON])
def test_bad_events_cost_only_themselves(server: Server, url: str, kind: str) -> None:
    """207: the good rows in order, and each of the others by its index."""
    name = unique()
    sent: list[object] = [*events(50, name)]
    expected = {}
    for place, (bad, code) in enumerate(BAD):
        sent.insert(place * 5, bad)
        expected[place * 5] = code
    lines = list(map(json.dumps, sent))
    body = f"[{','.join(lines)}]" if kind == JSON else "\n\n".join(lines)
    before = server.metrics()
    answer = send(server, body.encode(), kind)
    assert answer.status_code == 207
    assert list(answer.json()) == ["status", "data", "errors"]
    assert answer.json()["status"] == "partial"
    assert errors_of(answer) == expected
    assert told(answer) == stored(url, name)
    assert len(told(answer)) == 50
    after = server.metrics()
    refused = {name: after[name] - before[name] for name in after if "refused_total" in name}
    assert {name: count for name, count in refused.items() if count} == {
        f"nonito_events_refused_total{{{code}}}": count
        for code, count in Counter(expected.values()).items()
    }


@pytest.mark.parametrize("queue", ["plain", "dedup", "both"])
def test_events_that_only_postgres_refuses_cost_only_themselves(
    server: Server, url: str, queue: str
) -> None:
    """Their indices are those of the document, also behind others that were refused before."""
    name = unique()
    sent: list[Event] = events(120, name)
    for n, event in enumerate(sent):
        if queue == "dedup" or (queue == "both" and n % 2):
            event["id"] = make_id()
    for n in (0, 1, 60, 119):
        sent[n]["event_params"]["poison"] = "yes"
    sent[30] = {"event_name": ""}
    answer = post(server, sent)
    assert answer.status_code == 207
    assert errors_of(answer) == {
        **dict.fromkeys((0, 1, 60, 119), "rejected_by_database"),
        30: "invalid_event_name",
    }
    assert told(answer) == stored(url, name)
    assert [row["event_params"]["n"] for row in told(answer)] == [
        n for n in range(120) if n not in {0, 1, 30, 60, 119}
    ]
    assert books_balance(server.metrics()) == 0


@pytest.mark.parametrize("preference", ["", "return=minimal", "respond-async"])
def test_batch_of_nothing_but_bad_events_is_refused_with_all_of_them(
    server: Server, preference: str
) -> None:
    """400, and no preference is said to be applied."""
    headers = {"Prefer": preference} if preference else {}
    answer = post(server, [bad for bad, _ in BAD], **headers)
    assert answer.status_code == 400
    assert list(answer.json()) == ["status", "error", "errors"]
    assert answer.json()["status"] == "error"
    assert list(answer.json()["error"]) == ["code", "message"]
    assert answer.json()["error"]["code"] == "invalid_batch"
    assert errors_of(answer) == dict(enumerate(code for _, code in BAD))
    assert "Preference-Applied" not in answer.headers
    assert "Retry-After" not in answer.headers


def test_batch_that_postgres_refuses_whole_is_a_bad_one(server: Server) -> None:
    """Not a failure of the server's."""
    answer = post(server, events(3, "a", event_params={"poison": "x"}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_batch")
    assert errors_of(answer) == dict.fromkeys(range(3), "rejected_by_database")


def test_minimal_answer_counts(server: Server, url: str) -> None:
    """And lists what was refused all the same."""
    name = unique()
    sent = events(5, name)
    answer = post(server, sent, Prefer="return=minimal")
    assert (answer.status_code, answer.content) == (200, b'{"status":"success","count":5}')
    assert answer.headers["Preference-Applied"] == "return=minimal"
    sent[0]["id"] = sent[1]["id"] = make_id()
    answer = post(server, [*sent, {}], Prefer="return=minimal")
    assert answer.status_code == 207
    assert answer.headers["Preference-Applied"] == "return=minimal"
    assert list(answer.json()) == ["status", "count", "errors"]
    assert (answer.json()["status"], answer.json()["count"]) == ("partial", 5)
    assert errors_of(answer) == {5: "missing_event_name"}
    assert len(stored(url, name)) == 9
    assert "Preference-Applied" not in post(server, sent, Prefer="return=representation").headers


def test_early_answer_comes_while_nothing_can_be_committed(server: Server, url: str) -> None:
    """202 with the rows, or their count; stored as soon as that is possible."""
    name = unique()
    sent = events(20, name)
    for event in sent[::2]:
        event["id"] = make_id()
    before = server.metrics()
    with locked_events(url):
        early = post(server, sent, Prefer="respond-async")
        minimal = post(server, events(3, name), Prefer="respond-async, return=minimal")
        partial = post(server, [{}, *events(3, name)], Prefer="return=minimal, respond-async")
    wait_for(lambda: len(stored(url, name)) == 26)
    assert (early.status_code, minimal.status_code, partial.status_code) == (202, 202, 207)
    assert [row["id"] for row in told(early)][::2] == [event["id"] for event in sent[::2]]
    assert {row["id"] for row in told(early)} < {row["id"] for row in stored(url, name)}
    assert minimal.content == b'{"status":"success","count":3}'
    assert early.headers["Preference-Applied"] == "respond-async"
    for answer in (minimal, partial):
        assert answer.headers["Preference-Applied"] == "respond-async, return=minimal"
    assert (partial.json()["count"], errors_of(partial)) == (3, {0: "missing_event_name"})
    wait_for(lambda: books_balance(server.metrics()) == 0)
    after = server.metrics()
    accepted = "nonito_requests_total{/events,202}"
    assert after[accepted] - before[accepted] == 2
    assert after["nonito_async_acks_total"] - before["nonito_async_acks_total"] == 3


def test_duplicates_in_a_batch_are_its_first_row(server: Server, url: str) -> None:
    """Whatever else they say; each is told so, by its last key."""
    name = unique()
    first, second = make_id(), make_id()
    sent = [
        {"event_name": name, "event_params": {"n": n}, "id": event_id}
        for n, event_id in enumerate([first, second, first.upper(), first, second])
    ]
    answer = post(server, [sent[0], *events(1, unique()), *sent[1:]])
    assert answer.status_code == 200
    rows = answer.json()["data"]
    told = [row.get("duplicate") for row in rows]
    assert told == [None, None, None, *["different"] * 3]
    assert all(list(row)[-1] == "duplicate" for row in rows[3:])
    for place, of in ((3, 0), (4, 0), (5, 2)):
        assert {**rows[of], "duplicate": "different"} == rows[place]
    assert "Nonito-Duplicate" not in answer.headers
    assert stored(url, name) == [
        {"id": event_id, "event_params": {"n": n}} for n, event_id in enumerate([first, second])
    ]


def test_duplicates_of_stored_events_are_told_among_new_ones(server: Server, url: str) -> None:
    """From a batch or alone, also from long ago, with their first row, time and order of keys."""
    name = unique()
    moment = "2026-01-10T12:00:00.123456Z"
    known = [{**event, "id": make_id(), "timestamp": moment} for event in events(40, name)]
    alone = server.post(known[0])
    assert alone.status_code == 200
    first = post(server, known)
    again = post(server, [*known[::-1], *events(10, unique()), *events(10, unique(), id=make_id())])
    assert (first.status_code, again.status_code) == (200, 200)
    rows = first.json()["data"]
    assert [row.get("duplicate") for row in rows] == [True] + [None] * 39
    assert list(rows[0]) == [*ROW, "timestamp", "duplicate"]
    assert rows[0] == {**alone.json()["data"][0], "duplicate": True}
    retried = again.json()["data"]
    assert retried[:40] == [{**row, "duplicate": True} for row in rows[::-1]]
    assert [row.get("duplicate") for row in retried[40:]] == [None] * 11 + ["different"] * 9
    assert len(stored(url, name)) == 40
    assert server.post(known[5]).headers["Nonito-Duplicate"] == "true"


def test_batches_with_the_same_events_at_the_same_time_store_each_once(
    server: Server, url: str
) -> None:
    """16 at once, in any order: every answer has the one row of each, and one says it is new."""
    name = unique()
    pool_of = [{**event, "id": make_id()} for event in events(400, name)]

    def work(seed: int) -> requests.Response:
        chosen = random.Random(seed).sample(pool_of, 250)
        return post(
            server,
            [{**event, "event_params": {**event["event_params"], "by": seed}} for event in chosen],
        )

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(work, range(16)))
    assert {answer.status_code for answer in answers} == {200}
    found: dict[str, list[Event]] = {}
    for seed, answer in enumerate(answers):
        chosen = random.Random(seed).sample(pool_of, 250)
        assert [row["id"] for row in told(answer)] == [event["id"] for event in chosen]
        for row in answer.json()["data"]:
            found.setdefault(row["id"], []).append(row)
    in_database = {row["id"]: row["event_params"] for row in stored(url, name)}
    assert in_database.keys() == found.keys()
    for event_id, rows in found.items():
        assert [row.get("duplicate") for row in rows].count(None) == 1
        assert all(row["event_params"] == in_database[event_id] for row in rows)
        assert len({row["created_at"] for row in rows}) == 1
    assert books_balance(server.metrics()) == 0


def test_batch_counts_as_one_answer(server: Server) -> None:
    """However many events it has, in both queues, new or not; single requests count as ever."""
    before = server.metrics()
    mixed = [*events(100, unique()), *events(100, unique(), id=make_id()), {}]
    statuses = [
        post(server, mixed).status_code,
        post(server, mixed[:-1]).status_code,
        post(server, mixed[:50]).status_code,
        post(server, [{}]).status_code,
        server.post(mixed[150]).status_code,
        server.post(mixed[0]).status_code,
    ]
    assert statuses == [207, 200, 200, 400, 200, 200]
    after = server.metrics()

    def more(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more("nonito_requests_total{/events,200}") == 2
    assert more("nonito_requests_total{/event,200}") == 2
    assert more("nonito_requests_total{/events,207}") == 1
    assert more("nonito_requests_total{/events,400}") == 1
    assert more("nonito_events_accepted_total") == 200 + 200 + 50 + 2
    assert more("nonito_events_duplicate_total") == 99 + 100 + 1
    assert more("nonito_events_committed_total") == 101 + 100 + 50 + 1
    assert books_balance(after) == 0


def test_large_batches_with_ids_and_single_events_go_side_by_side(server: Server, url: str) -> None:
    """Each in its queue: all are stored once, and every one is told its own row."""
    many, one = unique("many"), unique("one")
    sent = [{**event, "id": make_id()} for event in events(5000, many)]
    with ThreadPoolExecutor(6) as pool:
        batches = [pool.submit(post, server, sent) for _ in range(2)]
        singles = [pool.submit(server.post, event) for event in events(60, one)]
        answers = [each.result() for each in batches]
        alone = [each.result() for each in singles]
    assert {answer.status_code for answer in (*answers, *alone)} == {200}
    assert told(answers[0]) == told(answers[1]) == stored(url, many)
    new = [sum("duplicate" not in row for row in answer.json()["data"]) for answer in answers]
    assert sum(new) == 5000
    assert [row for answer in alone for row in told(answer)] == stored(url, one)
    assert books_balance(server.metrics()) == 0
