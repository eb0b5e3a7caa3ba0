"""A chart is as high as what it shows, and no wider than the terminal."""

import pytest

from ingest.cli.query.chart import Line, draw
from ingest.cli.table import aligned, width_of

ENDS = ("2026-03-01", "2026-03-31")


def drawn(*values: list[float | None], width: int = 40) -> list[str]:
    """Return the lines of a chart."""
    return list(draw([Line(f"line {n}", each, 7) for n, each in enumerate(values)], ENDS, width))


def test_one_line_is_bars_of_some_rows() -> None:
    """The greatest fills all rows, half of it half of them; none and 0 are blank."""
    rows = drawn([12, 6, 0, None, 1])
    bars = [[row[3:][place * 7 : place * 7 + 1] for row in rows[:-1]] for place in range(5)]
    assert [sum(block not in ("", " ") for block in bar) for bar in bars] == [6, 3, 0, 0, 1]
    assert (rows[0][:2], rows[5][:2]) == ("12", " 0")
    assert rows[-1].split() == [*ENDS]


def test_more_lines_have_a_row_each_of_one_scale() -> None:
    """Between the label and the total."""
    first, second, _ = drawn([1, 8, 4], [0, 2, 4])
    assert first.startswith("line 0 ▁")
    assert "█" in first
    assert "█" not in second
    assert second.endswith(" 7")


def test_negative_values_stand_on_the_lowest() -> None:
    """And the scale says so."""
    rows = drawn([-4, 4])
    assert (rows[0].split()[0], rows[5].split()[0]) == ("4", "-4")


@pytest.mark.parametrize("count", [1, 2, 39, 40, 41, 5_000])
@pytest.mark.parametrize("lines", [1, 3, 100])
@pytest.mark.parametrize("width", [20, 40, 200])
def test_chart_is_no_wider_than_the_terminal(count: int, lines: int, width: int) -> None:
    """However many buckets there are; the greatest one is seen."""
    values: list[float | None] = [*[0.0] * (count - 1), 1e20]
    rows = drawn(*[values] * lines, width=width)
    assert max(map(len, rows), default=0) <= width
    assert len(rows) <= 20
    assert not rows or "█" in "".join(rows)


def test_nothing_is_drawn_of_nothing() -> None:
    """Nor where there is no room."""
    assert drawn([None, None]) == []
    assert drawn([]) == []
    assert drawn([1, 2], width=4) == []


def test_wide_characters_keep_columns_aligned() -> None:
    """A Chinese one takes two columns, a combining accent none."""
    rows = [("a", "1"), ("漢字", "20"), ("e\u0301", "3")]
    assert {width_of(line) for line in aligned(rows, {1})} == {8}
