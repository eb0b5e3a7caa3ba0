"""Row groups that are copied from a file are what they were there, and nothing else is there."""

from pathlib import Path

import duckdb
import pytest

from ingest.archive import row_groups, thrift

_ROWS = 9_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of five row groups, with a word of each in it."""
    path = tmp_path_factory.mktemp("parquet") / "source.parquet"
    select = (
        "SELECT uuid() AS id, n // 2048 AS place, 'word-' || n // 2048 || '-of' AS word,"
        " CASE WHEN n % 3 > 0 THEN 'x' || n % 5 END AS few,"
        " ('{\"a\": ' || n || ', \"b\": [\"w' || n // 2048 || 'w\"]}')::JSON::VARIANT AS params"
        f" FROM range({_ROWS}) AS made (n)"
    )
    options = "FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 2048, WRITE_PAGE_INDEX true"
    duckdb.execute(f"COPY ({select}) TO '{path}' ({options})")
    return path


def rows(path: Path, where: str = "true") -> list[tuple[object, ...]]:
    """Return what is in a file, in order."""
    found = duckdb.execute(
        f"SELECT * REPLACE (params::JSON::VARCHAR AS params) FROM '{path}' WHERE {where}"
    )
    return found.fetchall()


def test_whole_file_is_copied_to_the_byte(source: Path, tmp_path: Path) -> None:
    """With all of its groups it is the same file."""
    sizes = row_groups.sizes(source)
    assert sizes == [2048] * 4 + [_ROWS - 4 * 2048]
    row_groups.copy(source, tmp_path / "copy", range(len(sizes)))
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("kept", [[0], [4], [1, 3], [0, 1, 2, 3], [1, 2, 3, 4]])
def test_copied_groups_are_what_they_were(source: Path, tmp_path: Path, kept: list[int]) -> None:
    """And of the others no word is left, in no index and no statistics."""
    copy = tmp_path / "copy.parquet"
    row_groups.copy(source, copy, kept)
    listed = ", ".join(map(str, kept))
    assert rows(copy) == rows(source, f"place IN ({listed})")
    assert rows(copy, "word = 'word-1-of'") == rows(source, f"place = 1 AND 1 IN ({listed})")
    data = copy.read_bytes()
    for place in range(5):
        for word in (f"word-{place}-of", f"w{place}w"):
            assert (word.encode() in data) == (place in kept), word


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 3, b"x" * 100, b"PAR1\xff\0\0\0PAR1"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, data: bytes) -> None:
    """Whatever it is."""
    (tmp_path / "none").write_bytes(data)
    with pytest.raises((ValueError, OSError)):
        row_groups.sizes(tmp_path / "none")


def test_struct_that_is_cut_short_is_refused(source: Path) -> None:
    """At every byte."""
    data = source.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8]
    assert thrift.written(thrift.Reader(footer).struct()) == footer
    for end in range(0, length, 7):
        with pytest.raises(ValueError, match="short"):
            thrift.Reader(footer[:end]).struct()
