"""The audit's reading of answers: each event of a request gets what is its own, or none."""

from pathlib import Path
from random import Random

import orjson

from bench.audit.answers import Answer, file_answer
from bench.audit.history import read
from bench.audit.recorder import Recorder
from bench.audit.workload import GOOD, Request, SentEvent, Workload
from ingest.errors import Code, Refusal

WORKLOAD = Workload("run", 1)


def filed_one(
    recorder: Recorder, event: SentEvent, status: int, body: bytes, head: bytes = b""
) -> str | None:
    """File the answer to a single event."""
    return file_answer(recorder, Request((event,)), Answer(status, head, body))


def test_answer_of_another_request_is_mixed_up(tmp_path: Path) -> None:
    """Only the request's own name and parameters, byte for byte, are its answer."""
    recorder = Recorder(tmp_path / "history")
    one, other = (WORKLOAD.good(1, number, Random(1)) for number in (1, 2))
    recorder.sent(one)
    recorder.sent(other)
    event_id = "01a20775-3827-7f9a-a84b-77c69c54c242"
    start = b'{"status":"success","data":[{"id":"' + event_id.encode()
    end = b'2026-01-10T12:00:00.123Z"}]}'
    assert filed_one(recorder, one, 200, start + one.echo + end) == event_id
    assert filed_one(recorder, other, 200, start + one.echo + end) is None
    records = read(recorder.path).records
    assert (records[one.token].status, records[one.token].id) == (200, event_id)
    assert records[one.token].created_at == "2026-01-10T12:00:00.123Z"
    assert not records[other.token].is_acked


def test_500_that_leaves_it_open_is_unknown(tmp_path: Path) -> None:
    """And one that says that nothing is stored is a refusal."""
    recorder = Recorder(tmp_path / "history")
    texts = {1: "it may or may not be stored.", 2: "The event was not stored."}
    for number, text in texts.items():
        request = WORKLOAD.good(1, number, Random(1))
        recorder.sent(request)
        body = Refusal(Code.DATABASE_ERROR, text).body()
        filed_one(recorder, request, 500, body)
    records = list(read(recorder.path).records.values())
    assert [(each.status, each.code) for each in records] == [
        (0, "500 database_error"),
        (500, "database_error"),
    ]
    assert all(each.expected == GOOD for each in records)


def batch_body(requests: list[SentEvent], ids: list[str], status: str = "success") -> bytes:
    """Return the answer to a batch, without errors."""
    rows = [
        b'{"id":"%b%b2026-01-10T12:00:00.123Z"}' % (event_id.encode(), request.echo)
        for event_id, request in zip(ids, requests, strict=True)
    ]
    return b'{"status":"%b","data":[%b]}' % (status.encode(), b",".join(rows))


def filed(directory: Path, requests: list[SentEvent], status: int, body: bytes) -> list[str]:
    """Return what became of each event of a batch with this answer, shortly."""
    recorder = Recorder(directory / f"history-{len(list(directory.iterdir()))}")
    for request in requests:
        recorder.sent(request)
    file_answer(recorder, Request(tuple(requests)), Answer(status, b"", body))
    records = read(recorder.path).records
    shown = (records[each.token] for each in requests)
    return [f"{each.status} {each.id[-1:] or each.code}".strip() for each in shown]


def test_each_event_of_a_batch_has_its_own_row_or_its_own_error(tmp_path: Path) -> None:
    """In the order in which they were sent; whatever is not so is mixed up."""
    sent = [WORKLOAD.good(1, number, Random(number)) for number in range(3)]
    ids = [f"01a20775-3827-7f9a-a84b-77c69c54c24{number}" for number in range(3)]
    whole = batch_body(sent, ids)
    assert filed(tmp_path, sent, 200, whole) == ["200 0", "200 1", "200 2"]
    assert filed(tmp_path, sent, 202, whole) == ["202 0", "202 1", "202 2"]
    swapped = batch_body([sent[0], sent[2], sent[1]], ids)
    assert filed(tmp_path, sent, 200, swapped) == ["200 0", "0 mixed up", "0 mixed up"]
    for wrong in (batch_body(sent[:2], ids[:2]), whole + b" ", whole.replace(b"]", b"")):
        assert "0 mixed up" in filed(tmp_path, sent, 200, wrong)
    assert "0 mixed up" in filed(tmp_path, sent[:2], 200, whole)
    assert filed(tmp_path, sent, 200, b"{") == ["0 mixed up"] * 3
    assert filed(tmp_path, sent, 404, b"{") == ["0 mixed up"] * 3


def error(index: int, code: str = "invalid_json", message: str = "no") -> dict[str, str | int]:
    """Return an event's error as an answer has it."""
    return {"index": index, "code": code, "message": message}


def test_errors_of_a_batch_belong_to_their_events(tmp_path: Path) -> None:
    """By index, each once, and not to all of them."""
    sent = [WORKLOAD.good(1, number, Random(number)) for number in range(3)]
    text = batch_body(sent[1:2], ["01a20775-3827-7f9a-a84b-77c69c54c247"], "partial")[:-1]
    unknown = error(2, "database_error", "it may or may not be stored")

    def told(*errors: dict[str, str | int]) -> list[str]:
        return filed(tmp_path, sent, 207, text + b',"errors":%b}' % orjson.dumps(errors))

    assert told(error(0), unknown) == ["400 invalid_json", "202 7", "0 500 database_error"]
    for wrong in ((), (error(0), error(0)), (error(0), error(3)), (error(0, "no such code"),)):
        assert told(*wrong) == ["0 mixed up"] * 3


def test_batch_that_is_refused_is_refused_for_everybody(tmp_path: Path) -> None:
    """With one error for the document, or one for each event."""
    sent = [WORKLOAD.good(1, number, Random(number)) for number in range(3)]
    whole = {"status": "error", "error": {"code": "overloaded", "message": "full"}}

    def told(*errors: dict[str, str | int]) -> list[str]:
        return filed(tmp_path, sent, 400, orjson.dumps(whole | {"errors": errors}))

    assert filed(tmp_path, sent, 503, orjson.dumps(whole)) == ["503 overloaded"] * 3
    assert told(error(0), error(1), error(2)) == ["400 invalid_json"] * 3
    assert told(error(0), error(1)) == ["0 mixed up"] * 3


HEAD = b"HTTP/1.1 200 OK\r\nNonito-Duplicate: %b\r\nContent-Length: 9\r\n\r\n"
ID = "01a20775-3827-7f9a-a84b-77c69c54c242"


def row_of(event: SentEvent, event_id: str = ID, more: bytes = b"") -> bytes:
    """Return an event as an answer has it."""
    told = b'{"id":"%b%b2026-01-10T12:00:00.123Z"%b%b}'
    return told % (event_id.encode(), event.echo, event.said, more)


def outcome(recorder: Recorder, event: SentEvent) -> tuple[int, str, str]:
    """Return what the history says of an event."""
    record = read(recorder.path).records[event.label]
    return record.status, record.code, record.id


def test_retry_is_noted_with_the_row_that_it_was_told(tmp_path: Path) -> None:
    """Only if it has a claim and the answer says so, or that only Postgres knows."""
    recorder = Recorder(tmp_path / "history")
    random = Random(1)
    events = [WORKLOAD.good(1, number, random, "key order") for number in range(5)]
    plain = WORKLOAD.good(1, 9, random)
    for event in (*events, plain):
        recorder.sent(event)
    first = row_of(events[0])
    body = b'{"status":"success","data":[%b]}'
    filed_one(recorder, events[0], 200, body % first)
    filed_one(recorder, events[1], 200, body % first, HEAD % b"true")
    filed_one(recorder, events[2], 200, body % first)
    filed_one(recorder, events[3], 202, body % row_of(events[3]), HEAD % b"unknown")
    filed_one(recorder, events[4], 202, body % first, HEAD % b"unknown")
    filed_one(recorder, plain, 200, body % first, HEAD % b"true")
    told = [outcome(recorder, event) for event in (*events, plain)]
    assert told == [
        (200, "", ID),
        (200, "sent before", ""),
        (0, "mixed up", ""),
        (202, "may have been sent before", ID),
        (202, "may have been sent before", ID),
        (0, "mixed up", ""),
    ]
    assert read(recorder.path).records[events[1].label].row == first


def test_rows_of_a_batch_say_each_for_itself_that_they_were_sent_before(tmp_path: Path) -> None:
    """Between others that were not, whatever their length."""
    recorder = Recorder(tmp_path / "history")
    random = Random(2)
    claims = [f"id {ID[:-1]}{number}" for number in range(4)]
    sent = tuple(WORKLOAD.good(1, at, random, claim) for at, claim in enumerate(claims))
    other = WORKLOAD.good(1, 9, random, claims[1])
    for event in sent:
        recorder.sent(event)
    rows = [row_of(sent[at], claims[at][3:]) for at in (0, 2)]
    unknown = row_of(sent[3], claims[3][3:], b',"duplicate":null')
    before = row_of(other, claims[1][3:], b',"duplicate":true')
    body = b'{"status":"success","data":[%b]}' % b",".join((rows[0], before, rows[1], unknown))
    file_answer(recorder, Request(sent), Answer(200, b"", body))
    assert [outcome(recorder, event)[:2] for event in sent] == [
        (200, ""),
        (200, "sent before"),
        (200, ""),
        (200, "may have been sent before"),
    ]


def test_early_answer_is_noted_as_one(tmp_path: Path) -> None:
    """With the id and the time that it told; a row under another id than the client's is not."""
    recorder = Recorder(tmp_path / "history")
    event = WORKLOAD.good(1, 1, Random(1), f"id {ID}", "2026-01-10T12:00:00.123Z")
    other = event._replace(token="run-1-2")
    for each in (event, other):
        recorder.sent(each)
    body = b'{"status":"success","data":[%b]}'
    file_answer(recorder, Request((event,), is_async=True), Answer(202, b"", body % row_of(event)))
    wrong = row_of(event, ID[:-1] + "3")
    file_answer(recorder, Request((other,), is_async=True), Answer(202, b"", body % wrong))
    assert outcome(recorder, event) == (202, "acknowledged early", ID)
    assert outcome(recorder, other) == (0, "mixed up", "")
