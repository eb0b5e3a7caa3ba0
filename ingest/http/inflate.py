"""Inflating a request's body: gzip (RFC 1952) or zstd (RFC 8878), in steps, with bounds.

A step makes STEP_BYTES at most. A small body's first INLINE_STEPS are made on the event loop, in
0.7 ms at most, and mostly that is all. The others are made in one of two threads, where zlib and
zstd let go of the GIL. After each step the size is checked; after each MiB what there is so far is
counted in the budget, which may refuse it, and it ends if nobody waits any longer.

What this never does: hold more memory for a body than `bytes_max`, an eighth of that, and zstd's
window of 8 MiB (RFC 9659), or for more bodies than there are threads; let one wait for longer than
WAIT_S; or take a body that is cut off, or has anything but zeros behind its end, for a whole one.
"""

import asyncio
import io
import random
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import zstandard

from ingest.errors import Code, Refusal
from ingest.http.budget import Share, overloaded

RATIO_MAX: Final = 1_000
"""Deflate can reach 1,032 and zstd 30,000. One event sent 10,000 times reaches 330 and 4,800, but
less than RATIO_FREE_BYTES."""

RATIO_FREE_BYTES: Final = 1024 * 1024
STEP_BYTES: Final = 64 * 1024
INPUT_BYTES: Final = 16 * 1024
"""What zlib is fed at once: the rest of it is copied behind each member of gzip."""

INLINE_BYTES_MAX: Final = 16 * 1024
INLINE_STEPS: Final = 5
STEPS_IN_TURN: Final = 4
"""Then a thread sleeps for no time. With many short steps the event loop waits for the GIL else:
half of its turns were 4 ms late, now 0.3. Behind every step that would triple what members take."""

TURNS_IN_STRETCH: Final = 4
"""So much, 1 MiB at most, a thread makes before it is counted: 0.1 ms of the event loop."""

MEMBERS_MAX: Final = 1_000
"""Members of gzip, or frames of zstd, that a body may have."""

BLOCKS_MAX: Final = 20_000
"""Of zstd, 0.5 µs each to walk. One is 128 KiB, or what was sent before an encoder was flushed."""

BLOCKS_IN_STEP: Final = 500
WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024
THREADS: Final = 2
WAIT_S: Final = 1.0
"""So long a body waits for a thread; of the largest, two take 0.1 s. Without a bound 500 of 34 KB
held up everybody's for 30 s, also when their clients were gone. Some wait for half as long, so that
those who came together are not refused together, which takes 100 ms of 500."""

_ZEROS: Final = bytes(STEP_BYTES)
_FRAME_HEADER_BYTES_MAX: Final = 18
_BLOCK_HEADER_BYTES: Final = 3
_CHECKSUM_BYTES: Final = 4
_SKIPPABLE: Final = range(0x184D2A50, 0x184D2A60)
_threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="inflate")


def require_known(encoding: str) -> None:
    """Raise Refusal for an encoding that is none of ENCODINGS."""
    if encoding not in ENCODINGS:
        known = " or ".join(ENCODINGS)
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Encoding: {known}, or none.")


class Inflater:
    """Inflates bodies: small ones at once, as many others at a time as there are threads."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._free_threads = asyncio.Semaphore(THREADS)

    async def inflate(self, body: bytes, encoding: str, *, bytes_max: int, held: Share) -> bytes:
        """Return an encoded body as it was; `encoding` is a Content-Encoding but `identity`.

        `held` counts the body, and what is inflated. Raise Refusal for an encoding that is none of
        ENCODINGS, a body that is malformed, one that inflates to more than `bytes_max`, or to
        RATIO_MAX times itself and more than RATIO_FREE_BYTES, and one that no thread is free for,
        or no memory.
        """
        inflation = _Inflation(body, encoding.lower(), bytes_max)
        if len(body) <= INLINE_BYTES_MAX and inflation.advance(INLINE_STEPS):
            return inflation.result()
        if self._free_threads.locked():
            inflation.rewind()  # what waits holds nothing but what was sent
        await self._wait_for_thread()
        try:
            await _finish(inflation, held)
        finally:
            self._free_threads.release()
        return inflation.result()

    async def _wait_for_thread(self) -> None:
        wait_s = self._wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        try:
            async with asyncio.timeout(wait_s):
                await self._free_threads.acquire()
        except TimeoutError:
            raise overloaded() from None


async def _finish(inflation: "_Inflation", held: Share) -> None:
    """Make all steps that are left, in a thread."""
    loop = asyncio.get_running_loop()
    sent_bytes = held.size
    while not await loop.run_in_executor(_threads, inflation.stretch):
        held.resize(sent_bytes + inflation.inflated_bytes)


class _Inflation:
    """One body on its way; it may change threads between two steps."""

    def __init__(self, body: bytes, encoding: str, bytes_max: int) -> None:
        if encoding not in ENCODINGS:
            names = ", ".join(ENCODINGS)
            raise Refusal(
                Code.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding must be one of {names}, identity."
            )
        self._body = body
        self._encoding = encoding
        self._bytes_max = bytes_max
        self._ratio_bytes_max = max(RATIO_FREE_BYTES, RATIO_MAX * len(body))
        self.rewind()

    def rewind(self) -> None:
        """Forget what was inflated; begin anew."""
        self._steps = ENCODINGS[self._encoding](self._body)
        self._inflated = io.BytesIO()

    @property
    def inflated_bytes(self) -> int:
        """So much is inflated."""
        return self._inflated.tell()

    def stretch(self) -> bool:
        """Make the steps of some turns, in a thread; return whether the body is done."""
        for _ in range(TURNS_IN_STRETCH):
            if self.advance(STEPS_IN_TURN):
                return True
            time.sleep(0)
        return False

    def advance(self, steps: int) -> bool:
        """Make some steps; return whether the body is done."""
        try:
            for _ in range(steps):
                inflated = next(self._steps, None)
                if inflated is None:
                    return True
                self._take(inflated)
        except (zlib.error, zstandard.ZstdError) as error:
            raise _malformed(f"it is not valid {self._encoding} ({error})") from None
        return False

    def result(self) -> bytes:
        """Return what was inflated; not a copy."""
        return self._inflated.getvalue()

    def _take(self, inflated: bytes) -> None:
        size = self.inflated_bytes + len(inflated)
        if size > self._bytes_max:
            raise _too_large(f"may have {self._bytes_max} bytes at most when it is inflated")
        if size > self._ratio_bytes_max:
            raise _too_large(f"inflates to more than {RATIO_MAX} times its size")
        self._inflated.write(inflated)


def _gunzip(body: bytes) -> Iterator[bytes]:
    end = 0
    for _ in range(MEMBERS_MAX):
        end = yield from _gunzip_member(body, end)
        if end == len(body) or body[end] == 0:
            yield from _walk_padding(body, end)
            return
    raise _too_large(f"may have {MEMBERS_MAX} members at most")


def _walk_padding(body: bytes, start: int) -> Iterator[bytes]:
    """Ignore zeros behind the last member, as gzip(1) does: tapes and disks fill up with them."""
    for at in range(start, len(body), STEP_BYTES):
        if not _ZEROS.startswith(body[at : at + STEP_BYTES]):
            raise _malformed("there is something behind its end")
        yield b""


def _gunzip_member(body: bytes, start: int) -> Generator[bytes, None, int]:
    """Yield what comes out, which may be nothing; return where the member ends."""
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    fed = b""
    while not member.eof:
        if not fed:
            fed = body[start : start + INPUT_BYTES]
            start += len(fed)
        inflated = member.decompress(fed, STEP_BYTES)
        if not (fed or inflated or member.eof):
            raise _cut_off()
        fed = member.unconsumed_tail
        yield inflated
    return start - len(member.unused_data)


def _unzstd(body: bytes) -> Iterator[bytes]:
    # The reader ends without a word where a body is cut off: so that is looked at first.
    yield from _walk_frames(body)
    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
    reader = decompressor.stream_reader(body, read_across_frames=True)
    while inflated := reader.read(STEP_BYTES):
        yield inflated


def _walk_frames(body: bytes) -> Iterator[bytes]:
    """Go from frame to frame; raise Refusal unless the last one ends where the body does."""
    end = blocks = 0
    for _ in range(MEMBERS_MAX):
        header = body[end : end + _FRAME_HEADER_BYTES_MAX]
        if int.from_bytes(header[:4], "little") in _SKIPPABLE:
            end += 8 + int.from_bytes(header[4:8], "little")
        else:
            end, blocks = yield from _walk_frame(body, end, header, blocks)
        if end > len(body):
            raise _cut_off()
        if end == len(body):
            return
        yield b""
    raise _too_large(f"may have {MEMBERS_MAX} frames at most")


def _walk_frame(
    body: bytes, start: int, header: bytes, blocks: int
) -> Generator[bytes, None, tuple[int, int]]:
    """Return where a frame ends, and `blocks` and how many it has; raise ZstdError."""
    end = start + zstandard.frame_header_size(header)
    is_last = False
    while not is_last:
        block = int.from_bytes(body[end : end + _BLOCK_HEADER_BYTES], "little")
        is_last = bool(block & 1)
        is_repeated_byte = block >> 1 & 3 == 1
        end += _BLOCK_HEADER_BYTES + (1 if is_repeated_byte else block >> 3)
        blocks += 1
        if end > len(body):
            raise _cut_off()
        if blocks > BLOCKS_MAX:
            raise _too_large(f"may have {BLOCKS_MAX} blocks at most")
        if blocks % BLOCKS_IN_STEP == 0:
            yield b""
    has_checksum = zstandard.get_frame_parameters(header).has_checksum
    return end + _CHECKSUM_BYTES * has_checksum, blocks


def _cut_off() -> Refusal:
    return _malformed("it is cut off")


def _malformed(what: str) -> Refusal:
    return Refusal(Code.INVALID_ENCODING, f"The body can't be inflated: {what}.")


def _too_large(what: str) -> Refusal:
    return Refusal(Code.PAYLOAD_TOO_LARGE, f"The body {what}.")


ENCODINGS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,  # the same, says RFC 9110
    "zstd": _unzstd,
}
