"""The command `fuzz`: whatever head the fast lane takes, aiohttp takes with the same meaning.

A differential fuzz: it mutates good heads, byte by byte, line by line and with tokens that have
fooled parsers before, and feeds what the fast lane accepts to aiohttp's own C parser. A divergence
is a way to smuggle requests, so one is one too many.
"""

import asyncio
import random
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final, NamedTuple

import click
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

from bench import console
from ingest.http.authentication import API_KEY, with_bearers
from ingest.http.head import Head, parse
from ingest.http.pipeline import HEAD_BYTES_MAX, HEADERS_MAX
from ingest.store.apps import App
from ingest.store.keyring import Grant

KEY: Final = "nk_" + "k" * 43
_SECRET_HEADERS: Final = (API_KEY, hdrs.AUTHORIZATION)
_SHARE: Final = 50_000
_SHARES_MAX: Final = 1_000_000  # so that the shares of one seed are not those of the next
_BODY: Final = b"b" * 70_000

SEEDS: Final = (
    (
        b"Host: localhost:8080",
        b"X-API-Key: %b",
        b"Content-Type: application/json",
        b"Content-Length: 41",
    ),
    (
        b"Host: events.example.org",
        b"User-Agent: curl/8.1.2",
        b"Accept: */*",
        b"Content-Type: application/json",
        b"X-API-Key: %b",
        b"Content-Length: 63",
    ),
    (
        b"host: 127.0.0.1",
        b"connection: keep-alive",
        b"content-type: application/json; charset=utf-8",
        b"x-api-key: %b",
        b"accept-encoding: gzip, deflate, br",
        b"user-agent: python-requests/2.34.2",
        b"content-length: 7",
    ),
    (
        b"Host: localhost:8080",
        b"Authorization: Bearer %b",
        b"Content-Type: application/json",
        b"Content-Length: 41",
    ),
)
_HEADERS: Final = (
    "Transfer-Encoding: chunked|Expect: 100-continue|Upgrade: websocket|Connection: close"
    "|Connection: keep-alive|Connection: upgrade|Connection: keep-alive, close|Content-Length: 5"
    "|Content-Length: 0|Host: b|Content-Encoding: gzip|TE: trailers|Trailer: X"
    "|Keep-Alive: timeout=5|Proxy-Connection: close|HTTP2-Settings: AAMAAABkAAQAAP__"
    "|Sec-WebSocket-Key: a|Sec-WebSocket-Key1: a|X-API-Key: a|Content-Type: text/plain"
    "|Cookie: a=b; c|Range: bytes=0-1|Authorization: Bearer nk_a|Authorization: Basic YTpi"
)
_WORD_LIST: Final = (
    r"+|-|0x|_|00|9999999999|HTTP/1.0|HTTP/1.2|HTTP/2.0|GET |//|?a=b|#f|%65|http://a/event"
    r"|chunked|identity|close|keep-alive|:|: | :|,|;| "
)
_BREAKS: Final = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n ",
    b"\r\n\t",
    b"\0",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\xff",
)
WORDS: Final = tuple(word.encode() for word in _WORD_LIST.split("|"))
TOKENS: Final = (
    *(header.encode() + b"\r\n" for header in _HEADERS.split("|")),
    *WORDS,
    *_BREAKS,
)


@click.command()
@click.option("--mutations", default=5_000_000, type=click.IntRange(1), help="How many heads.")
@click.option("--seed", default=None, type=int, help="Repeat a run. Default: a new one.")
@click.option("--processes", default=2, type=click.IntRange(1, 64), help="That share the work.")
def fuzz(*, mutations: int, seed: int | None, processes: int) -> None:
    """Try mutated heads on the fast lane and on aiohttp's parser: they must not differ."""
    screen = console.make()
    seed = secrets.randbits(32) if seed is None else seed
    with console.progress(screen, f"seed {seed}", mutations, stays=True) as update:
        result = run_many(mutations, seed, processes, lambda done: update(advance=done))
    for head, difference in result.divergences:
        screen.print(f"{head!r}\n  {difference}", style="red", markup=False)
    screen.print(
        f"seed {seed}: {result.mutations:,} mutations, {result.accepted:,} taken by the fast lane, "
        f"{len(result.divergences)} divergences"
    )
    if result.divergences:
        sys.exit(1)


class FuzzResult(NamedTuple):
    """What a run found."""

    mutations: int
    accepted: int
    divergences: list[tuple[bytes, str]]


def run_many(
    mutations: int, seed: int, processes: int, on_progress: Callable[[int], None]
) -> FuzzResult:
    """Share the work between processes; `on_progress` is told of every share that is done."""
    sizes = [_SHARE] * (mutations // _SHARE) + [mutations % _SHARE]
    seeds = range(seed * _SHARES_MAX, seed * _SHARES_MAX + len(sizes))
    total = FuzzResult(0, 0, [])
    with ProcessPoolExecutor(processes) as pool:
        for part in pool.map(run, sizes, seeds):
            total = FuzzResult(
                total.mutations + part.mutations,
                total.accepted + part.accepted,
                total.divergences + part.divergences,
            )
            on_progress(part.mutations)
    return total


_GRANT: Final = Grant(App(1, "fuzz"), None)


def run(mutations: int, seed: int) -> FuzzResult:
    """Try so many mutated heads; the same seed tries the same ones."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable on purpose
    accepted, divergences = 0, []
    loop = asyncio.new_event_loop()
    try:
        for _ in range(mutations):
            head = mutate(random_)
            taken, difference = examine(head, loop)
            accepted += taken
            if difference is not None:
                divergences.append((head, difference))
    finally:
        loop.close()
    return FuzzResult(mutations, accepted, divergences)


def examine(head: bytes, loop: asyncio.AbstractEventLoop) -> tuple[bool, str | None]:
    """Return whether the fast lane takes a head, and how aiohttp differs about one it takes."""
    try:
        taken = parse(head, lambda key: _GRANT if key == KEY else None)
    except Exception as error:  # noqa: BLE001 - raising would cost a client its answer
        return False, f"the fast lane fails: {error!r}"
    return taken is not None, None if taken is None else compare(head, taken, loop)


def mutate(random_: random.Random) -> bytes:
    """Return a good head with one to four things changed."""
    lines = [b"POST /event HTTP/1.1", *random_.choice(SEEDS)]
    for _ in range(random_.randrange(3)):
        _mutate_lines(lines, random_)
    head = b"\r\n".join(lines).replace(b"%b", KEY.encode()) + b"\r\n\r\n"
    for _ in range(random_.randrange(3)):
        head = _mutate_bytes(head, random_)
    return head


def _mutate_lines(lines: list[bytes], random_: random.Random) -> None:
    place = random_.randrange(1, len(lines))
    name, colon, value = lines[place].partition(b":")
    match random_.randrange(7):
        case 0:
            lines.insert(place, random_.choice(lines))
        case 1:
            if len(lines) > 2:  # noqa: PLR2004 - keep the request line and a header
                del lines[place]
        case 2:
            lines.append(lines.pop(place))
        case 3:
            lines[place] = random_.choice((lines[place].upper(), lines[place].swapcase()))
        case 4:
            lines.insert(place, random_.choice(TOKENS).removesuffix(b"\r\n"))
        case 5:
            words = [random_.choice(WORDS), value.strip(b" ")]
            random_.shuffle(words)
            lines[place] = name + colon + b"".join(words)
        case _:
            lines[place] = name + colon + b" " * random_.randrange(4) + value.strip(b" ")


def _mutate_bytes(head: bytes, random_: random.Random) -> bytes:
    place = random_.randrange(len(head))
    match random_.randrange(4):
        case 0:
            return head[:place] + bytes([random_.randrange(256)]) + head[place + 1 :]
        case 1:
            return head[:place] + head[place + random_.randrange(1, 4) :]
        case 2:
            return head[:place] + random_.choice(TOKENS) + head[place:]
        case _:
            end = min(len(head), place + random_.randrange(1, 30))
            return head[:end] + head[place:end] + head[end:]


def compare(head: bytes, taken: Head, loop: asyncio.AbstractEventLoop) -> str | None:
    """Return how aiohttp's understanding of an accepted head differs; None when it doesn't."""
    if not head.endswith(b"\r\n\r\n") or head.find(b"\r\n\r\n") != len(head) - 4:
        return None  # not what the fast lane hands to `parse`: it cuts at the first empty line
    body = _BODY[: taken.request_bytes - len(head)]
    parser: Any = HttpRequestParser(
        BaseProtocol(loop),
        loop,
        2**16,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
        max_headers=HEADERS_MAX,
        payload_exception=web.RequestPayloadError,
        auto_decompress=False,
    )
    try:
        messages, upgraded, tail = parser.feed_data(head + body)
    except HttpProcessingError as error:
        return f"aiohttp refuses it: {type(error).__name__}"
    if len(messages) != 1 or upgraded or tail:
        return f"{len(messages)} messages, upgraded={upgraded}, tail={tail!r}"
    return _difference(head, body, *messages[0])


def _difference(head: bytes, body: bytes, message: Any, payload: Any) -> str | None:  # noqa: ANN401
    seen = {
        "method": message.method,
        "path": message.path,
        "version": message.version,
        "closes": message.should_close,
        "compression": message.compression,
        "upgrade": message.upgrade,
        "chunked": message.chunked,
        "complete": payload.is_eof(),
        "body": payload.read_nowait() if body else b"",
        "headers": [(name.lower(), value) for name, value in message.raw_headers],
        "secrets": with_bearers(*(message.headers.getall(name, ()) for name in _SECRET_HEADERS)),
    }
    expected = {
        "method": "POST",
        "path": "/event",
        "version": HttpVersion11,
        "closes": False,
        "compression": None,
        "upgrade": False,
        "chunked": False,
        "complete": True,
        "body": body,
        "headers": [_split(line) for line in head[:-4].split(b"\r\n")[1:]],
        "secrets": [KEY],
    }
    wrong = [name for name, value in expected.items() if seen[name] != value]
    return ", ".join(f"{name}: {seen[name]!r}" for name in wrong) or None


def _split(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" ")
