"""The WAL of a database whose process is gone: what is in it, also behind a frame that is broken.

SQLite takes the first frame that does not fit the checksum for the end of the log, in silence. But
each frame's sum goes on from the one that stands in the frame before it, so those behind a broken
frame can be checked all the same. What is left is written as another log: the newest image of each
page, of which SQLite takes everything. A page whose newest image is broken comes back as it was
before, if the log has that; the batches have sums of their own.

Frames of an earlier generation, with other salts, lie behind the end of every log that was begun
anew. And a transaction that nothing follows may never have been synced, so nobody was told of it:
unless it is whole it is left out, as SQLite has it.

A log is a header (magic, version, page size, sequence, salts, sum) and frames (page number, size of
the database behind a commit or 0, salts, sum, page). Numbers are big-endian; the words that are
summed are so where the magic's last bit is set.
"""

import os
import struct
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

HEADER_BYTES: Final = 32
FRAME_HEAD_BYTES: Final = 24
_SUMMED_BYTES: Final = 8
"""Of a frame's head: salts and sum are not in the sum."""
_MAGIC: Final = 0x377F0682
_VERSION: Final = 3_007_000
_HEADER: Final = struct.Struct(">IIII8s")
_FRAME: Final = struct.Struct(">II8sII")
_SUM: Final = struct.Struct(">II")
_PAGE_BITS: Final = 22
"""A page's number has no more: 32 GiB."""
_PAGES_BYTES: Final = tuple(1 << bits for bits in range(9, 17))
_PAGES_AT: Final = slice(28, 32)
"""Where page 1 says how many pages there are."""
_WORD: Final = 0xFFFFFFFF

Sum = tuple[int, int]
_ZERO: Final[Sum] = (0, 0)


class Frame(NamedTuple):
    """A frame of the generation that was written last."""

    number: int
    """Where it lies, from 0."""
    page: int
    pages: int
    """The size of the database behind it, if it is the last one of its transaction; else 0."""
    is_broken: bool
    """Whether its page does not fit its sum."""


class Wal:
    """A log as it was found; it is only read. Everything may raise OSError."""

    def __init__(self, path: Path, page_bytes: int) -> None:
        """Read a log, with pages of so many bytes if its header can't be read."""
        self._path = path
        self._frame_bytes = FRAME_HEAD_BYTES + page_bytes
        self._stops: list[int] = []  # frames that SQLite would not take
        self._frames: list[Frame] = []
        with path.open("rb") as log:
            self._read_header(log, page_bytes)
            self._read_frames(log)
        self._end = self._find_end()
        self._taken = [frame for frame in self._frames if frame.number < self._end]
        sound = [frame for frame in self._taken if not frame.is_broken]
        self._pages = max((max(frame.page, frame.pages) for frame in sound), default=0)

    @property
    def is_straight(self) -> bool:
        """Whether SQLite finds all that is in it, and nothing of this generation lies behind."""
        last = self._frames[-1].number + 1 if self._frames else 0
        return self._end == last and not any(number < last for number in self._stops)

    @property
    def is_damaged(self) -> bool:
        """Whether SQLite would not find all that was committed and synced."""
        return any(number < self._end for number in self._stops)

    @property
    def is_cut_short(self) -> bool:
        """Whether nothing is wrong with it but that a process ended in its last transaction."""
        last = self._frames[-1].number + 1 if self._frames else 0
        return self._end < last and not any(number < last for number in self._stops)

    @property
    def end_bytes(self) -> int:
        """How long it is without what was never committed."""
        return HEADER_BYTES + self._end * self._frame_bytes

    @property
    def lost_pages(self) -> int:
        """How many pages are not as they were written last, or may not be."""
        newest = {frame.page: frame.is_broken for frame in self._taken}
        return self._end - len(self._taken) + sum(newest.values())

    def rewrite(self, path: Path) -> None:
        """Write all that is left to another log, durably."""
        images = self._images()
        with self._path.open("rb") as log, path.open("wb") as target:
            head = _HEADER.pack(_MAGIC | self._is_big, _VERSION, self._page_bytes, 0, self._salts)
            total = self._sum(_ZERO, head)
            target.write(head + _SUM.pack(*total))
            for frame in images:
                last = frame._replace(pages=self._pages if frame is images[-1] else 0)
                total = self._write(target, total, last, self._page(log, frame))
            target.flush()
            os.fsync(target.fileno())

    def _images(self) -> list[Frame]:
        """Return a frame for each page: the newest that is sound, or else the newest."""
        ranked = sorted(self._taken, key=lambda frame: (not frame.is_broken, frame.number))
        images = {frame.page: frame for frame in ranked if 1 <= frame.page <= self._pages}
        return sorted(images.values())

    def _page(self, log: BinaryIO, frame: Frame) -> bytes:
        log.seek(HEADER_BYTES + frame.number * self._frame_bytes + FRAME_HEAD_BYTES)
        page = bytearray(log.read(self._page_bytes))
        if frame.page == 1:  # it may be an older one, which would hide the newest pages
            page[_PAGES_AT] = self._pages.to_bytes(4, "big")
        return bytes(page)

    def _write(self, target: BinaryIO, seed: Sum, frame: Frame, page: bytes) -> Sum:
        summed = struct.pack(">II", frame.page, frame.pages)
        total = self._sum(seed, summed + page)
        target.write(_FRAME.pack(frame.page, frame.pages, self._salts, *total) + page)
        return total

    def _read_header(self, log: BinaryIO, page_bytes: int) -> None:
        """Read the header; if it is broken, the first frame has its salts, too."""
        raw = log.read(HEADER_BYTES + FRAME_HEAD_BYTES).ljust(HEADER_BYTES + FRAME_HEAD_BYTES)
        head = raw[: _HEADER.size]
        magic, version, size, _, self._salts = _HEADER.unpack(head)
        stored = _SUM.unpack_from(raw, _HEADER.size)
        self._is_big = bool(magic & 1)
        is_known = (magic & ~1, version) == (_MAGIC, _VERSION) and size in _PAGES_BYTES
        if stored != self._sum(_ZERO, head) or not is_known:
            self._stops.append(0)
            self._is_big = sys.byteorder == "big"
            size, self._salts = page_bytes, raw[HEADER_BYTES + _SUMMED_BYTES :][:8]
        self._seeds = [stored, self._sum(_ZERO, head)]
        self._page_bytes = size
        self._frame_bytes = FRAME_HEAD_BYTES + size

    def _read_frames(self, log: BinaryIO) -> None:
        """Find the frames of this generation, to the last one of them."""
        log.seek(HEADER_BYTES)
        seeds, is_ours = self._seeds, True
        for number, raw in enumerate(self._split(log)):
            page, pages, salts, *stored = _FRAME.unpack_from(raw)
            has_salts = salts == self._salts
            if has_salts or is_ours:  # else not even its sum could say so
                sums = [self._sum(seed, _summed(raw)) for seed in seeds]
                is_sound = (stored[0], stored[1]) in sums
                is_ours = has_salts or is_sound
            else:
                sums, is_sound = [], False
            if is_ours:
                if is_sound and (stored[0], stored[1]) != sums[0] and self._frames:
                    # It is the sum of the one before that was broken, not what it sums.
                    self._frames[-1] = self._frames[-1]._replace(is_broken=False)
                if not is_sound and page >> _PAGE_BITS:
                    page, is_sound = self._page_of(raw, seeds[0], (stored[0], stored[1]))
                self._frames.append(Frame(number, page, pages, not is_sound))
            if not (has_salts and (stored[0], stored[1]) in sums):
                self._stops.append(number)
            seeds = [(stored[0], stored[1]), *([] if is_sound else sums[:1])]

    def _page_of(self, raw: bytes, seed: Sum, stored: Sum) -> tuple[int, bool]:
        """Return the page's number and True if one bit of that was flipped; else 0 and False."""
        (page,) = struct.unpack_from(">I", raw)
        for bit in range(_PAGE_BITS, 32):
            turned = page ^ 1 << bit
            if self._sum(seed, turned.to_bytes(4, "big") + _summed(raw)[4:]) == stored:
                return turned, True
        return 0, False

    def _split(self, log: BinaryIO) -> Iterator[bytes]:
        while len(raw := log.read(self._frame_bytes)) == self._frame_bytes:
            yield raw

    def _find_end(self) -> int:
        """Return how many frames belong to transactions that somebody may have been told of."""
        ends = [0, 0, *(frame.number + 1 for frame in self._frames if frame.pages)]
        begin, end = ends[-2:]
        sound = {frame.number for frame in self._frames if not frame.is_broken}
        is_followed = bool(self._frames) and self._frames[-1].number >= end
        return end if is_followed or sound.issuperset(range(begin, end)) else begin

    def _sum(self, seed: Sum, content: bytes) -> Sum:
        words = array("I", content)
        if self._is_big != (sys.byteorder == "big"):
            words.byteswap()
        s0, s1 = seed
        pairs = iter(words)
        for x, y in zip(pairs, pairs, strict=True):
            s0 = s0 + x + s1 & _WORD
            s1 = s1 + y + s0 & _WORD
        return s0, s1


def _summed(raw: bytes) -> bytes:
    return raw[:_SUMMED_BYTES] + raw[FRAME_HEAD_BYTES:]
