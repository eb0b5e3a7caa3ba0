r"""Tables and text for a terminal, which must obey nobody but its owner.

What a client sent may hold escape sequences that repaint the screen or reorder a line; they are
shown as `\x1b`, never sent.
"""

from collections.abc import Sequence
from datetime import datetime

import click


def echo_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equal length, of which the first is the heading, in aligned columns."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


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
