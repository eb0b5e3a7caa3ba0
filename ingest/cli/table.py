r"""Tables and text for a terminal, which must obey nobody but its owner.

What a client sent may hold escape sequences that repaint the screen or reorder a line; they are
shown as `\x1b`, never sent.
"""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

import click

_GAP: Final = "  "
_WIDE: Final = ("W", "F")
_NO_WIDTH: Final = ("Mn", "Me")


def echo_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equal length, of which the first is the heading, in aligned columns."""
    for line in aligned(rows):
        click.echo(line)


def aligned(rows: Sequence[Sequence[str]], numeric: Collection[int] = ()) -> Iterator[str]:
    """Yield rows of equal length as lines; columns of these numbers, from 0, end together."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (
            padded(cell, width, to_right=place in numeric)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield _GAP.join(cells).rstrip()


def padded(text: str, width: int, *, to_right: bool = False) -> str:
    """Return a text with blanks, so that it takes so many columns of a terminal."""
    blanks = " " * (width - width_of(text))
    return f"{blanks}{text}" if to_right else f"{text}{blanks}"


def width_of(text: str) -> int:
    """Return how many columns of a terminal a printable text takes: of Chinese, two a character."""
    return len(text) if text.isascii() else sum(map(_width_of, text))


def _width_of(char: str) -> int:
    if unicodedata.category(char) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(char) in _WIDE else 1


def printable(text: str) -> str:
    """Return text with everything that a terminal may act on, or can't show, escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shortened(text: str, chars_max: int) -> str:
    """Return at most `chars_max` characters, the last of them `…` where more were there."""
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def day(moment: datetime | None) -> str:
    """Return a date, `-` for none."""
    return moment.strftime("%Y-%m-%d") if moment else "-"


def second(moment: datetime | None) -> str:
    """Return date and time as they are written in `created_at`, to the second; `-` for none."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else "-"
