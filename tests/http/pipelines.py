"""Requests behind each other on one connection, the last of them often malformed."""

from dataclasses import dataclass, field

from tests.http.cases import EVENT, HOST, POST, chunked, join, post

PLAIN = post()
"""What the fast lane takes."""
DEFERRED = chunked(EVENT)
"""What it leaves to aiohttp."""
LAST = chunked(EVENT, headers=(b"Connection: close",))
GARBAGE = b"\0garbage\r\n\r\n"
NO_COLON = join(POST, HOST, b"no colon")
NO_END = chunked(EVENT).replace(b": chunked", b":")
UNPARSABLE = join(b"GET http://[v1.x]@ HTTP/1.1", HOST)
"""A target that aiohttp's parser raises IndexError for."""
BAD_CHUNK = chunked(end=b"xyz\r\n")
HEALTH = join(b"GET /healthz HTTP/1.1", HOST)
UPGRADE = post(b"Connection: Upgrade", b"Upgrade: websocket")
LONG_HEADER = join(POST, HOST, b"X-A: " + b"a" * 9000)
QUEUED = 32
"""So many requests aiohttp parses ahead."""

OK = "200"
BAD = "bad_request"


@dataclass(frozen=True)
class Pipeline:
    """What is sent on one connection, and how each request of it must be answered."""

    name: str
    request: bytes = field(repr=False)
    outcomes: list[str]
    """Of each answer its status, or its error's code; behind them the client closes its sending
    side, and then the connection ends."""
    closes: bool = True
    """Whether the last answer says that it is the last."""
    others: int = 0
    """So many of the 200s are no event's."""

    @property
    def events(self) -> int:
        """Return how many events of it must be stored."""
        return self.outcomes.count(OK) - self.others


MALFORMED = [
    Pipeline("garbage behind a plain one", PLAIN + GARBAGE, [OK, BAD]),
    Pipeline("garbage behind a deferred one", DEFERRED + GARBAGE, [OK, BAD]),
    Pipeline("garbage behind two deferred ones", DEFERRED * 2 + GARBAGE, [OK, OK, BAD]),
    Pipeline("garbage behind both kinds", PLAIN + DEFERRED + PLAIN + GARBAGE, [OK, OK, OK, BAD]),
    Pipeline("garbage and good ones behind it", DEFERRED + GARBAGE + DEFERRED, [OK, BAD]),
    Pipeline("a malformed header", DEFERRED + NO_COLON, [OK, BAD]),
    Pipeline("an empty encoding", DEFERRED + NO_END + DEFERRED, [OK, BAD]),
    Pipeline("a target that can't be parsed", DEFERRED + UNPARSABLE, [OK, BAD]),
    Pipeline("a header that is too long", DEFERRED + LONG_HEADER, [OK, "headers_too_large"]),
    Pipeline("a malformed chunk", DEFERRED + BAD_CHUNK, [OK, BAD]),
    Pipeline("garbage behind a GET", HEALTH + GARBAGE, [OK, BAD], others=1),
    Pipeline("garbage behind an expectation", post(b"Expect: 100-continue") + GARBAGE, [OK, BAD]),
    Pipeline("garbage behind an upgrade", UPGRADE + DEFERRED + GARBAGE, [OK, OK, BAD]),
    Pipeline("garbage at once behind an upgrade", UPGRADE + GARBAGE, [OK, BAD]),
    Pipeline(
        "garbage behind a refused event",
        DEFERRED + chunked(b"{}") + GARBAGE,
        [OK, "missing_event_name", BAD],
    ),
    Pipeline(
        "garbage behind more than wait at once",
        DEFERRED * (QUEUED + 8) + GARBAGE,
        [OK] * (QUEUED + 8) + [BAD],
    ),
]

CLOSING = [
    Pipeline("garbage behind the last", LAST + GARBAGE, [OK]),
    Pipeline("good ones behind the last", DEFERRED + LAST + DEFERRED + PLAIN, [OK, OK]),
    Pipeline("a last one that is plain", post(b"Connection: close") + PLAIN, [OK]),
    Pipeline("HTTP/1.0", post(line=b"POST /event HTTP/1.0") + GARBAGE, [OK]),
    Pipeline("an upgrade that is the last", UPGRADE.replace(b": Up", b": close, up") + PLAIN, [OK]),
]

CUT_OFF = [
    Pipeline("half a head", DEFERRED + join(POST, HOST)[:-2], [OK], closes=False),
    Pipeline("half a body", DEFERRED + post()[:-1], [OK, BAD]),
    Pipeline("half of a body in chunks", DEFERRED + chunked(EVENT, end=b""), [OK, BAD]),
    Pipeline(
        "half a body behind more than wait at once",
        DEFERRED * (QUEUED + 8) + post()[:-1],
        [OK] * (QUEUED + 8) + [BAD],
    ),
]

PIPELINES = [*MALFORMED, *CLOSING, *CUT_OFF]
