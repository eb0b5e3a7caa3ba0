"""`POST /events`: what a document may be, and how large; all of it is stored, in order."""

import gzip
import hashlib
import json
import random
from collections.abc import Callable

import pytest

from tests.http.batches import (
    ENCODE,
    JSON,
    MIB,
    NDJSON,
    ROW,
    code_of,
    errors_of,
    events,
    post,
    request,
    send,
    stored,
    told,
    unique,
)
from tests.http.checks import query
from tests.support.raw import connected
from tests.support.server import Server

MARK = b"\xef\xbb\xbf"


@pytest.fixture
def url(shared_database_url: str) -> str:
    """The module's database."""
    return shared_database_url


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The module's server."""
    return shared_server


@pytest.mark.parametrize("encoding", ["", *ENCODE])
@pytest.mark.parametrize("form", ["array", "pretty", "lines", "blank lines", "charset"])
def test_events_are_stored_and_told_in_order(
    server: Server, url: str, form: str, encoding: str
) -> None:
    """In both forms, however they are laid out and encoded; each row as its event's own answer."""
    name = unique()
    sent = events(700, name)
    lines = [json.dumps(event).encode() for event in sent]
    body, kind = {
        "array": (json.dumps(sent).encode(), JSON),
        "pretty": (json.dumps(sent, indent=4).encode() + b"\r\n", JSON),
        "lines": (b"\n".join(lines), NDJSON),
        "blank lines": (b"\r\n" + b"\r\n \t\n\n".join(lines) + b"\n\n", NDJSON),
        "charset": (b"\n".join(lines) + b"\n", f"{NDJSON}; charset=utf-8"),
    }[form]
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = send(server, ENCODE[encoding](body) if encoding else body, kind, **headers)
    assert answer.status_code == 200, answer.text[:300]
    assert answer.headers["Content-Type"] == JSON
    assert "Preference-Applied" not in answer.headers
    shape = answer.json()
    assert list(shape) == ["status", "data"]
    assert shape["status"] == "success"
    assert all(list(row) == ROW for row in shape["data"])
    assert [row["event_params"]["n"] for row in shape["data"]] == list(range(700))
    assert told(answer) == stored(url, name)


def test_parameters_are_told_as_they_were_sent(server: Server) -> None:
    """With every digit and all their spaces."""
    params = [b'{"a":1.50, "b":[ ]}', b'{"a":1e2}', b'{"\\u00e9":"\xc3\xa9"}', b"{}"]
    body = b",".join(b'{"event_name":"p","event_params":%b}' % each for each in params)
    answer = send(server, b"[%b]" % body)
    assert answer.status_code == 200
    rows = answer.content.split(b'"event_params":')[1:]
    assert all(row.startswith(sent + b",") for row, sent in zip(rows, params, strict=True))


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json-seq"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/x-ndjson; charset=latin1"},
        {"Content-Type": ""},
        {"Content-Encoding": "deflate"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, zstd"},
        {"Content-Encoding": "gzip, gzip"},
    ],
)
def test_other_types_and_encodings_are_refused(server: Server, headers: dict[str, str]) -> None:
    """With 415, before anything is read into them."""
    answer = send(server, b'[{"event_name":"a"}]', **headers)
    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")


@pytest.mark.parametrize("marked", [b"", MARK], ids=["", "marked"])
@pytest.mark.parametrize(
    ("kind", "is_array"),
    [
        ("application/ndjson", False),
        ("application/jsonl", False),
        ("application/x-jsonl; charset=UTF-8", False),
        ("application/jsonlines", False),
        ("APPLICATION/X-NDJSON", False),
        ("application/vnd.example.v1+json", True),
        ("application/vnd.api+json;charset=utf-8", True),
        ("application/json", True),
    ],
)
def test_types_are_known_by_all_their_names(
    server: Server, url: str, kind: str, marked: bytes, *, is_array: bool
) -> None:
    """Those in use for lines, and any kind of JSON; a byte order mark in front is skipped."""
    name = unique()
    lines = [json.dumps(event).encode() for event in events(3, name)]
    body = b"[%b]" % b",".join(lines) if is_array else b"\n".join(lines)
    answer = send(server, marked + body, kind)
    assert answer.status_code == 200, answer.text
    assert told(answer) == stored(url, name)


def test_lines_of_one_header_are_one_list(server: Server) -> None:
    """Two lines of Content-Encoding are both heeded: the first one alone may say little."""
    body = gzip.compress(b'[{"event_name":"a"}]')
    for codings, status in [
        (["identity", "gzip"], 200),
        (["gzip", "identity"], 200),
        (["", "gzip,"], 200),
        (["gzip", "gzip"], 415),
        (["gzip", "br"], 415),
        (["identity", "br"], 415),
    ]:
        lines = [f"Content-Encoding: {each}" for each in codings]
        with connected(server.port) as client:
            answer = client.ask(request(server, body, *lines))
        assert answer.status == status, codings


GOOD = b'{"event_name":"broken"}'


MANY = b",".join([GOOD] * 3000)


DOCUMENTS = {
    "nothing": (b"", JSON, "invalid_json"),
    "blank": (b" \n", JSON, "invalid_json"),
    "null": (b"null", JSON, "invalid_json"),
    "an object": (GOOD, JSON, "invalid_json"),
    "no end": (b"[%b" % GOOD, JSON, "invalid_json"),
    "a comma at the end": (b"[%b,]" % GOOD, JSON, "invalid_json"),
    "text behind it": (b"[%b]x" % GOOD, JSON, "invalid_json"),
    "no comma": (b"[%b %b]" % (GOOD, GOOD), JSON, "invalid_json"),
    "two byte order marks": (MARK * 2 + b"[%b]" % GOOD, JSON, "invalid_json"),
    "a byte order mark behind it": (b"[%b]" % GOOD + MARK, JSON, "invalid_json"),
    "a byte order mark alone": (MARK, JSON, "invalid_json"),
    "no line behind a byte order mark": (MARK + b"\n", NDJSON, "empty_batch"),
    "a broken value behind 3000": (b"[%b,nul]" % MANY, JSON, "invalid_json"),
    "no end behind 3000": (b"[%b" % MANY, JSON, "invalid_json"),
    "two ends": (b"[%b]]" % MANY, JSON, "invalid_json"),
    "no event": (b"[]", JSON, "empty_batch"),
    "only space": (b"[ \n ]", JSON, "empty_batch"),
    "no line": (b"", NDJSON, "empty_batch"),
    "blank lines": (b"\n \r\n\t\n", NDJSON, "empty_batch"),
}


@pytest.mark.parametrize(("body", "kind", "code"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_broken_document_leaves_nothing_stored(
    server: Server, url: str, body: bytes, kind: str, code: str
) -> None:
    """However far its good part reaches; refused as a whole, in the one shape."""
    answer = send(server, body, kind)
    assert (answer.status_code, code_of(answer)) == (400, code)
    assert stored(url, "broken") == []


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda body: body[:-3],
    "garbage behind it": lambda body: body + b"x",
    "none at all": lambda _: b"[",
}


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_broken_encoding_leaves_nothing_stored(
    server: Server,
    url: str,
    encoding: str,
    change: Callable[[bytes], bytes],
) -> None:
    """Also when all events came out of it before it broke."""
    body = ENCODE[encoding](b"[%b]" % MANY)
    answer = send(server, change(body), Content_Encoding=encoding)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_encoding")
    assert stored(url, "broken") == []


def test_batch_may_have_10000_events_and_no_more(server: Server, url: str) -> None:
    """One more, and none is stored."""
    name = unique()
    sent = events(10_001, name)
    answer = post(server, sent)
    assert (answer.status_code, code_of(answer)) == (413, "payload_too_large")
    body = "\n".join(map(json.dumps, sent)).encode()
    assert code_of(send(server, body, NDJSON)) == "payload_too_large"
    assert stored(url, name) == []
    answer = post(server, sent[:-1])
    assert answer.status_code == 200
    assert told(answer) == stored(url, name)


def padded(name: str, size: int, seed: int) -> bytes:
    """Return an event of so many bytes that can't be compressed well."""
    head = b'{"event_name":"%b","event_params":{"n":%d,"a":"' % (name.encode(), seed)
    filler = random.Random(seed).randbytes(size // 2).hex().encode()
    return head + filler[: size - len(head) - 3] + b'"}}'


@pytest.mark.parametrize(("kind", "encoding"), [(JSON, ""), (NDJSON, "gzip")])
def test_batch_may_have_16_mib_and_no_more(
    server: Server, url: str, kind: str, encoding: str
) -> None:
    """As sent and inflated; what is stored is what was sent."""
    name = unique()
    rows = [padded(name, MIB if number else MIB - 17, number) for number in range(16)]
    body = b"[%b]" % b",".join(rows) if kind == JSON else b"\n".join(rows) + b"\n\n"
    assert len(body) == 16 * MIB
    encode = (lambda text: gzip.compress(text, 1)) if encoding else bytes
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = send(server, encode(body + b" "), kind, **headers)
    assert (answer.status_code, code_of(answer)) == (413, "payload_too_large")
    assert stored(url, name) == []
    answer = send(server, encode(body), kind, **headers)
    assert answer.status_code == 200, answer.text[:300]
    found = query(
        url,
        "SELECT (event_params->>'n')::int AS n,"
        " encode(sha256((event_params->>'a')::bytea), 'hex') AS a FROM events"
        " WHERE event_name = $1",
        name,
    )
    expected = {
        n: hashlib.sha256(json.loads(row)["event_params"]["a"].encode())
        for n, row in enumerate(rows)
    }
    assert {row["n"]: row["a"] for row in found} == {
        n: each.hexdigest() for n, each in expected.items()
    }
    assert [row["event_params"]["n"] for row in answer.json()["data"]] == list(range(16))


@pytest.mark.parametrize("kind", [JSON, NDJSON])
def test_event_past_1_mib_is_refused_alone(server: Server, url: str, kind: str) -> None:
    """By its index; one of exactly so much is stored, and its neighbours are."""
    name = unique()
    rows = [padded(name, size, n) for n, size in enumerate((100, MIB + 1, MIB, 100, 3 * MIB))]
    body = b"[%b]" % b", ".join(rows) if kind == JSON else b"\n".join(rows)
    answer = send(server, body, kind)
    assert answer.status_code == 207
    assert errors_of(answer) == {1: "payload_too_large", 4: "payload_too_large"}
    assert told(answer) == stored(url, name)
    assert [row["event_params"]["n"] for row in answer.json()["data"]] == [0, 2, 3]


def test_idempotency_key_is_refused(server: Server, url: str) -> None:
    """It could stand for one event only; the message says what to use."""
    name = unique()
    for key in ("order 1", ""):
        answer = post(server, events(1, name), Idempotency_Key=key)
        assert (answer.status_code, code_of(answer)) == (400, "invalid_idempotency_key")
    assert "id" in answer.json()["error"]["message"]
    assert stored(url, name) == []


def test_batch_needs_a_key(server: Server) -> None:
    """Asked for before its body is looked at."""
    for key, code in (("", "missing_api_key"), ("nk_wrong", "invalid_api_key")):
        answer = send(server, b"[", "a/b", X_API_Key=key)
        assert (answer.status_code, code_of(answer)) == (401, code)
