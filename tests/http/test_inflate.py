"""A body is inflated as it was, or refused; and no client makes it cost much."""

import asyncio
import gzip
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import Code, Refusal
from ingest.http import inflate as module
from ingest.http.budget import Budget, Share
from ingest.http.inflate import Inflater

MIB = 1024 * 1024
EVENTS = b"[%b]" % b",".join(b'{"event_name":"a","event_params":{"n":%d}}' % n for n in range(999))
SKIPPABLE = b"\x50\x2a\x4d\x18\x05\0\0\0abcde"
Encode = Callable[[bytes], bytes]


def room(size: int = 64 * MIB) -> Share:
    """Return a share of a budget of its own."""
    return Share(Budget(size))


async def inflate(body: bytes, encoding: str, *, bytes_max: int) -> bytes:
    """Inflate a body when nobody else does."""
    return await Inflater().inflate(body, encoding, bytes_max=bytes_max, held=room())


def zstd(body: bytes) -> bytes:
    """Encode with what lets a decoder find any fault."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(body)


def zstd_in_stream(body: bytes) -> bytes:
    """Encode as a client does that neither knows the size nor wants a checksum."""
    encoder = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return encoder.compress(body) + encoder.flush()


def zstd_of_empty_blocks(blocks: int) -> bytes:
    """Return a frame that inflates to nothing."""
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"\0\0\0" * (blocks - 1) + b"\1\0\0"


ENCODERS: list[tuple[str, Encode]] = [
    ("gzip", gzip.compress),
    ("zstd", zstd),
    ("zstd", zstd_in_stream),
]
encoders = pytest.mark.parametrize(
    ("encoding", "encode"), ENCODERS, ids=["gzip", "zstd", "zstd-stream"]
)


async def refused(body: bytes, encoding: str, bytes_max: int = MIB) -> Code:
    """Return the code of the refusal."""
    with pytest.raises(Refusal) as caught:
        await inflate(body, encoding, bytes_max=bytes_max)
    return caught.value.code


@pytest.fixture
def steps_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the thread of each step that is made."""
    made: list[str] = []

    def noting(steps: Callable[[bytes], Iterator[bytes]], body: bytes) -> Iterator[bytes]:
        for inflated in steps(body):
            made.append(threading.current_thread().name)
            yield inflated

    for name, steps in list(module.ENCODINGS.items()):
        monkeypatch.setitem(module.ENCODINGS, name, partial(noting, steps))
    return made


@settings(max_examples=60, deadline=None, database=None)
@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 100, 16_384, 65_535, 65_536, 65_537, 300_000]), max_size=5
    ),
    choices=st.integers(2, 256),  # one alone may pass the ratio's limit
    seed=st.integers(0, 99),
    encoder=st.sampled_from(ENCODERS),
)
def test_body_of_any_size_and_number_of_members_comes_out_as_it_was(
    sizes: list[int], choices: int, seed: int, encoder: tuple[str, Encode]
) -> None:
    """However well it was compressed, on the loop or in a thread."""
    encoding, encode = encoder
    source = random.Random(seed)
    parts = [bytes(source.choices(range(choices), k=size)) for size in [*sizes, 10]]
    body = b"".join(map(encode, parts))
    assert asyncio.run(inflate(body, encoding, bytes_max=2 * MIB)) == b"".join(parts)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
async def test_names_of_gzip_are_known(encoding: str) -> None:
    """In any case."""
    assert await inflate(gzip.compress(EVENTS), encoding, bytes_max=MIB) == EVENTS


@pytest.mark.parametrize("encoding", ["", "deflate", "br", "identity", "gzip, zstd", "aws-chunked"])
async def test_unknown_encoding_is_refused(encoding: str) -> None:
    """With the names of those that are known."""
    assert await refused(gzip.compress(b"[]"), encoding) is Code.UNSUPPORTED_MEDIA_TYPE


async def test_frames_to_be_skipped_are_skipped() -> None:
    """Anywhere."""
    body = SKIPPABLE + zstd(b"[1,") + SKIPPABLE * 2 + zstd(b"2]") + SKIPPABLE
    assert await inflate(body, "zstd", bytes_max=MIB) == b"[1,2]"


@encoders
async def test_body_that_is_cut_off_anywhere_is_refused(encoding: str, encode: Encode) -> None:
    """Also behind the last byte that matters, and within a second member."""
    whole = encode(EVENTS[:300])
    for first in (b"", encode(b"first")):
        for length in range(len(whole)):
            if length or not first:
                assert await refused(first + whole[:length], encoding) is Code.INVALID_ENCODING


async def test_frame_to_be_skipped_that_is_cut_off_is_refused() -> None:
    """For whoever sent it lost something."""
    for length in range(1, len(SKIPPABLE)):
        assert await refused(zstd(b"[]") + SKIPPABLE[:length], "zstd") is Code.INVALID_ENCODING


@encoders
@pytest.mark.parametrize(
    "garbage",
    [b"x", b"\0x", b"\0" * 50 + b"x", bytes(20_000) + b"x", b"trailing garbage" * 9000],
)
async def test_body_with_anything_behind_its_end_is_refused(
    encoding: str, encode: Encode, garbage: bytes
) -> None:
    """Also behind zeros."""
    assert await refused(encode(EVENTS) + garbage, encoding) is Code.INVALID_ENCODING


@pytest.mark.parametrize("zeros", [1, 7, 512, 65_536, 200_000])
async def test_zeros_behind_the_last_member_of_gzip_are_ignored(zeros: int) -> None:
    """As gzip(1) does; between two members, in their place, and behind zstd they are not."""
    whole = gzip.compress(EVENTS)
    padding = bytes(zeros)
    assert await inflate(whole + padding, "gzip", bytes_max=MIB) == EVENTS
    assert await inflate(whole * 2 + padding, "gzip", bytes_max=MIB) == EVENTS * 2
    for body in (padding, padding + whole, whole + padding + whole, whole + padding + b"x"):
        assert await refused(body, "gzip") is Code.INVALID_ENCODING
    if zeros < module.BLOCKS_MAX:  # where each three are an empty block
        assert await refused(zstd(EVENTS) + padding, "zstd") is Code.INVALID_ENCODING


@pytest.mark.parametrize(("encoding", "encode"), ENCODERS[:2], ids=["gzip", "zstd"])
async def test_damaged_body_is_refused_or_comes_out_as_it_was(
    encoding: str, encode: Encode
) -> None:
    """Every byte of it in turn, by its checksum if by nothing else."""
    whole = encode(EVENTS[:300])
    codes = set()
    for index in range(len(whole)):
        damaged = whole[:index] + bytes([whole[index] ^ 0x10]) + whole[index + 1 :]
        try:
            assert await inflate(damaged, encoding, bytes_max=MIB) == EVENTS[:300]
        except Refusal as refusal:
            codes.add(refusal.code)
    assert codes <= {Code.INVALID_ENCODING, Code.PAYLOAD_TOO_LARGE}
    assert Code.INVALID_ENCODING in codes


@encoders
@pytest.mark.parametrize("size", [1000, 65_536, 200_000])
async def test_body_may_inflate_to_its_limit(encoding: str, encode: Encode, size: int) -> None:
    """And not to one byte more."""
    body = encode(random.Random(1).randbytes(size))
    assert len(await inflate(body, encoding, bytes_max=size)) == size
    assert await refused(body, encoding, size - 1) is Code.PAYLOAD_TOO_LARGE


@encoders
async def test_body_that_is_too_good_to_be_true_is_refused(encoding: str, encode: Encode) -> None:
    """Past a ratio, if it is more than a megabyte."""
    assert len(await inflate(encode(b"\0" * MIB), encoding, bytes_max=16 * MIB)) == MIB
    assert await refused(encode(b"\0" * 9 * MIB), encoding, 16 * MIB) is Code.PAYLOAD_TOO_LARGE


@pytest.mark.parametrize(
    ("encoding", "part", "parts"),
    [
        ("gzip", gzip.compress(b"", mtime=0), module.MEMBERS_MAX),
        ("zstd", zstd(b""), module.MEMBERS_MAX),
        ("zstd", SKIPPABLE, module.MEMBERS_MAX),
        ("zstd", zstd_of_empty_blocks(100), module.BLOCKS_MAX // 100),
    ],
    ids=["members", "frames", "frames-to-be-skipped", "blocks"],
)
async def test_body_may_be_in_as_many_parts_as_its_limit(
    encoding: str, part: bytes, parts: int
) -> None:
    """And not in one more."""
    assert await inflate(part * parts, encoding, bytes_max=MIB) == b""
    assert await refused(part * (parts + 1), encoding) is Code.PAYLOAD_TOO_LARGE


async def test_zstd_with_a_window_past_the_limit_is_refused() -> None:
    """8 MiB are what every decoder has to take."""
    for window_log, is_taken in ((23, True), (24, False)):
        parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
        encoder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        body = encoder.compress(EVENTS) + encoder.flush()
        if is_taken:
            assert await inflate(body, "zstd", bytes_max=MIB) == EVENTS
        else:
            assert await refused(body, "zstd") is Code.INVALID_ENCODING


@encoders
async def test_bomb_takes_little_more_memory_than_the_limit(encoding: str, encode: Encode) -> None:
    """However much it would become."""
    bomb = encode(b"\0" * 64 * MIB)
    tracemalloc.start()
    try:
        assert await refused(bomb, encoding, 4 * MIB) is Code.PAYLOAD_TOO_LARGE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * MIB


async def test_small_body_is_inflated_at_once(steps_made: list[str]) -> None:
    """It is not worth a thread."""
    assert len(EVENTS) > 40_000
    assert await inflate(gzip.compress(EVENTS), "gzip", bytes_max=MIB) == EVENTS
    assert set(steps_made) == {threading.current_thread().name}


@encoders
async def test_small_body_that_grows_is_finished_in_a_thread(
    steps_made: list[str], encoding: str, encode: Encode
) -> None:
    """What the event loop does for one body is bounded by what comes out, too."""
    body = encode(EVENTS[:1000] * 1000)
    assert len(body) <= module.INLINE_BYTES_MAX
    assert len(await inflate(body, encoding, bytes_max=MIB)) == 1_000_000
    here = threading.current_thread().name
    assert steps_made.count(here) == module.INLINE_STEPS < len(steps_made)


async def test_large_body_is_inflated_in_a_thread(steps_made: list[str]) -> None:
    """From its first step."""
    body = gzip.compress(random.Random(1).randbytes(module.INLINE_BYTES_MAX))
    await inflate(body, "gzip", bytes_max=MIB)
    assert threading.current_thread().name not in steps_made


async def test_client_that_went_away_costs_no_further_stretch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the body on its way nor one that waits for a thread."""
    made = 0
    is_begun, may_go_on = threading.Barrier(module.THREADS + 1), threading.Event()

    def steps(_: bytes) -> Iterator[bytes]:
        nonlocal made
        is_begun.wait(10)
        may_go_on.wait(10)
        for _step in range(1000):
            made += 1
            yield b""

    monkeypatch.setitem(module.ENCODINGS, "gzip", steps)
    body = b"x" * (module.INLINE_BYTES_MAX + 1)
    tasks = [
        asyncio.create_task(inflate(body, "gzip", bytes_max=MIB)) for _ in range(module.THREADS + 3)
    ]
    await asyncio.to_thread(is_begun.wait, 10)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    may_go_on.set()
    monkeypatch.undo()
    whole = gzip.compress(random.Random(1).randbytes(20_000))
    await asyncio.gather(*(inflate(whole, "gzip", bytes_max=MIB) for _ in range(4)))
    assert made <= module.THREADS * module.STEPS_IN_TURN * module.TURNS_IN_STRETCH


@encoders
async def test_what_is_inflated_counts_while_it_is(encoding: str, encode: Encode) -> None:
    """Where it does not fit in the budget any more it ends, and no later than by 1 MiB."""
    body = encode(random.Random(1).randbytes(20_000) * 400)  # 8 MB
    budget = Budget(12 * MIB)
    others, held = Share(budget), Share(budget)
    others.resize(8 * MIB)
    held.resize(len(body))
    tracemalloc.start()
    try:
        with pytest.raises(Refusal) as caught:
            await Inflater().inflate(body, encoding, bytes_max=16 * MIB, held=held)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code is Code.OVERLOADED
    assert held.size <= 4 * MIB
    assert peak < 6 * MIB
    others.count(0)
    held.resize(len(body))
    assert len(await Inflater().inflate(body, encoding, bytes_max=16 * MIB, held=held)) == 8_000_000
    assert held.size > 6 * MIB


async def test_body_that_no_thread_is_free_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded wait; a small one needs none, and the next one finds one again."""
    may_go_on = threading.Event()

    def steps(body: bytes) -> Iterator[bytes]:
        if len(body) > module.INLINE_BYTES_MAX:
            may_go_on.wait(10)
        yield body

    monkeypatch.setitem(module.ENCODINGS, "gzip", steps)
    body = b"x" * (module.INLINE_BYTES_MAX + 1)
    inflater = module.Inflater(wait_s=0.05)
    inflate = partial(inflater.inflate, encoding="gzip", bytes_max=MIB, held=room())
    tasks = [asyncio.create_task(inflate(body)) for _ in range(module.THREADS)]
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as caught:
        await inflate(body)
    assert caught.value.code is Code.OVERLOADED
    assert await inflate(b"small") == b"small"
    may_go_on.set()
    assert await asyncio.gather(*tasks, inflate(body)) == [body] * (module.THREADS + 1)


async def test_bodies_at_once_do_not_mix() -> None:
    """More of them than threads."""
    inflate = Inflater().inflate
    bodies = [random.Random(seed).randbytes(100_000) for seed in range(9)]
    encoded = [ENCODERS[seed % 3] for seed in range(9)]
    found = await asyncio.gather(
        *(
            inflate(encode(body), encoding, bytes_max=MIB, held=room())
            for body, (encoding, encode) in zip(bodies, encoded, strict=True)
        )
    )
    assert found == bodies


async def test_header_of_zlib_is_no_gzip() -> None:
    """Nor is bare deflate."""
    assert await refused(zlib.compress(EVENTS), "gzip") is Code.INVALID_ENCODING
    assert await refused(zlib.compress(EVENTS, wbits=-15), "gzip") is Code.INVALID_ENCODING
