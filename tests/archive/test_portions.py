"""How much is archived at once: so many rows at most, and fewer where memory is short."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from ingest.archive import founding, passes, window
from ingest.archive.archiver import Archiver
from ingest.archive.failures import OutOfMemory
from ingest.archive.portion import Portion
from tests.archive.archiving import assert_exact, store, tail_rows, workspace_of


def passes_of(url: str, path: Path, rows_max: int) -> Iterator[passes.Passed]:
    """Archive in passes of so many rows, until there is nothing more."""
    with closing(workspace_of(url, path)) as workspace:
        place, _ = founding.find(workspace, path)
        while True:
            yield (passed := passes.archive(workspace, place, rows_max))
            if passed.is_last:
                return


def test_pass_takes_no_more_than_it_may(url: str, path: Path) -> None:
    """Where a sample says little: in a large table it sees a page of many."""
    for size in (1, 30, 200, 5, 90):
        store(url, [{"n": n} for n in range(size)])
    with patch.object(window, "_SAMPLE_PAGES", 0):
        taken = [each.rows for each in passes_of(url, path, 100)]
    assert sum(taken) == 326
    assert max(taken) == 200  # a transaction is not cut
    assert [each for each in taken if each > 100] == [200]
    assert_exact(url, path)


def test_archiver_with_little_memory_takes_less_at_once(url: str, path: Path) -> None:
    """In the same round; and in time more again."""
    text = "x" * 3_000
    for _ in range(14):
        store(url, [{"n": n, "text": f"{n}{text}"} for n in range(1_000)])
    archiver = Archiver(url, path, interval_s=0.05, memory_max=64 << 20, threads=1)
    archiver.round()
    assert archiver._passed._rows < passes.ROWS_MAX
    assert_exact(url, path)
    assert tail_rows(url, path) == 0


def test_portion_is_cut_until_it_fits_and_grows_again() -> None:
    """And what does not fit at all is raised."""
    tried: list[int] = []

    def work(rows: int) -> int:
        tried.append(rows)
        if rows > fitting:
            raise OutOfMemory("short")
        return rows

    portion, fitting = Portion(1_000), 300
    assert portion.do(work) == 250
    assert tried == [1_000, 500, 250]
    fitting = 2_000
    for _ in range(60):
        portion.do(work)
    assert tried[-1] == 1_000
    fitting = 0
    with pytest.raises(OutOfMemory):
        portion.do(work)
    assert tried[-1] == 100
